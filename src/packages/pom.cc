// pom.xml (maven.apache.org, "POM Reference").
#include <expat.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "base/go_quote.h"
#include "base/strings.h"
#include "packages/forms.h"

namespace varve::packages {
namespace {

constexpr size_t kMaxDepth = 64;

// Children of <project> that say who made it and where it goes.
constexpr std::array<std::string_view, 13> kIgnored = {"name",     "description",     "url",          "inceptionYear",
                                                       "licenses", "developers",      "contributors", "organization",
                                                       "scm",      "issueManagement", "ciManagement", "mailingLists",
                                                       "version"};

// Elements, attributes and text as one line each; what is ignored, comments and blanks around text
// are not there.
class Reader {
 public:
  Form Run(std::string_view text) {
    std::unique_ptr<XML_ParserStruct, void (*)(XML_Parser)> parser(XML_ParserCreate(nullptr), XML_ParserFree);
    if (!parser) return Resource("no memory for a parser of XML");
    parser_ = parser.get();
    XML_SetUserData(parser_, this);
    XML_SetElementHandler(parser_, &Reader::OnStart, &Reader::OnEnd);
    XML_SetCharacterDataHandler(parser_, &Reader::OnText);
    XML_SetStartDoctypeDeclHandler(parser_, &Reader::OnDoctype);
    if (XML_Parse(parser_, text.data(), static_cast<int>(text.size()), 1) != XML_STATUS_OK) {
      return Invalid("{}", refused_.empty() ? std::string("it is no XML") : refused_);
    }
    return std::move(form_);
  }

 private:
  static void OnStart(void* user, const XML_Char* name, const XML_Char** attributes) {
    auto& self = *static_cast<Reader*>(user);
    self.Flush();
    ++self.depth_;
    if (self.depth_ > kMaxDepth) return self.Refuse("its elements are nested too deeply");
    if (self.skipped_ != 0) return;
    std::string_view element = name;
    if (self.depth_ == 2 && element == "modules") return self.Refuse("it has modules");
    if (self.depth_ == 2 && std::ranges::find(kIgnored, element) != kIgnored.end()) {
      self.skipped_ = self.depth_;
      return;
    }
    self.form_ += "<" + std::string(element);
    for (const XML_Char** at = attributes; *at != nullptr; at += 2)
      self.form_ += fmt::format(" {}={}", at[0], GoQuote(at[1]));
    self.form_ += ">\n";
  }

  static void OnEnd(void* user, const XML_Char*) {
    auto& self = *static_cast<Reader*>(user);
    self.Flush();
    if (self.skipped_ == 0) self.form_ += "</>\n";
    if (self.skipped_ == self.depth_) self.skipped_ = 0;
    --self.depth_;
  }

  static void OnText(void* user, const XML_Char* text, int size) {
    auto& self = *static_cast<Reader*>(user);
    if (self.skipped_ == 0) self.text_.append(text, static_cast<size_t>(size));
  }

  static void OnDoctype(void* user, const XML_Char*, const XML_Char*, const XML_Char*, int) {
    static_cast<Reader*>(user)->Refuse("it has a document type");
  }

  void Flush() {
    std::string_view text = TrimSpace(text_);
    if (!text.empty()) form_ += GoQuote(text) + "\n";
    text_.clear();
  }

  void Refuse(std::string why) {
    refused_ = std::move(why);
    XML_StopParser(parser_, XML_FALSE);
  }

  XML_Parser parser_ = nullptr;
  std::string form_, text_, refused_;
  size_t depth_ = 0, skipped_ = 0;  // of the ignored element that this is in
};

}  // namespace

Form FormOfPom(std::string_view text) {
  for (std::string_view use : {"${project.version}", "${pom.version}", "${version}"}) {
    if (text.find(use) != text.npos) return Invalid("it uses {}", use);
  }
  return Reader().Run(text);
}

}  // namespace varve::packages
