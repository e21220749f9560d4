#include "objects/xml.h"

#include <expat.h>

#include <limits>
#include <memory>
#include <type_traits>

namespace varve::objects {

namespace {

constexpr size_t kMaxDepth = 32;

struct Builder {
  XML_Parser parser;
  XmlElement document;  // holds the root
  // Pointers stay valid: only the last child of the innermost open element grows.
  std::vector<XmlElement*> open;
  const char* refused = nullptr;

  void Refuse(const char* why) {
    refused = why;
    XML_StopParser(parser, XML_FALSE);
  }
};

void OnStart(void* user, const char* name, const char**) {
  auto& builder = *static_cast<Builder*>(user);
  if (builder.open.size() > kMaxDepth) return builder.Refuse("nested too deeply");
  std::string_view local = name;
  if (size_t colon = local.find(':'); colon != local.npos) local.remove_prefix(colon + 1);
  auto& siblings = builder.open.back()->children;
  siblings.push_back({.name = std::string(local)});
  builder.open.push_back(&siblings.back());
}

// expat may still end an empty element after it was told to stop.
void OnEnd(void* user, const char*) {
  auto& builder = *static_cast<Builder*>(user);
  if (builder.refused == nullptr) builder.open.pop_back();
}

void OnText(void* user, const char* text, int size) {
  static_cast<Builder*>(user)->open.back()->text.append(text, static_cast<size_t>(size));
}

void OnDocumentType(void* user, const char*, const char*, const char*, int) {
  static_cast<Builder*>(user)->Refuse("has a document type");
}

}  // namespace

const XmlElement* XmlElement::Find(std::string_view child) const {
  for (const XmlElement& element : children) {
    if (element.name == child) return &element;
  }
  return nullptr;
}

std::string_view XmlElement::Text(std::string_view child) const {
  const XmlElement* element = Find(child);
  return element == nullptr ? std::string_view() : element->text;
}

Result<XmlElement> ParseXml(std::string_view text) {
  if (text.size() > std::numeric_limits<int>::max()) return Corrupt("XML of {} bytes", text.size());
  std::unique_ptr<std::remove_pointer_t<XML_Parser>, decltype(&XML_ParserFree)> parser(XML_ParserCreate("UTF-8"),
                                                                                       XML_ParserFree);
  if (parser == nullptr) return Resource("out of memory for an XML parser");
  Builder builder{.parser = parser.get(), .document = {}, .open = {}};
  builder.open.push_back(&builder.document);
  XML_SetUserData(parser.get(), &builder);
  XML_SetElementHandler(parser.get(), OnStart, OnEnd);
  XML_SetCharacterDataHandler(parser.get(), OnText);
  XML_SetStartDoctypeDeclHandler(parser.get(), OnDocumentType);
  if (XML_Parse(parser.get(), text.data(), static_cast<int>(text.size()), XML_TRUE) != XML_STATUS_OK) {
    return Corrupt("XML at byte {}: {}", XML_GetCurrentByteIndex(parser.get()),
                   builder.refused != nullptr ? builder.refused : XML_ErrorString(XML_GetErrorCode(parser.get())));
  }
  return std::move(builder.document.children.front());
}

std::string EscapeXml(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\r':
        out += "&#13;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace varve::objects
