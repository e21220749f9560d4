// XML answers as a small tree of elements, by expat. Attributes and name spaces are left out: no
// answer of S3 or STS carries meaning in them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::objects {

struct XmlElement {
  std::string name;  // without a prefix
  std::string text;  // all character data directly in it
  std::vector<XmlElement> children;

  const XmlElement* Find(std::string_view child) const;  // the first one
  std::string_view Text(std::string_view child) const;   // empty when absent
};

// The root. kCorrupt for malformed text, a document type (which S3 never sends, and which is where
// entities come from), or elements nested deeper than 32.
Result<XmlElement> ParseXml(std::string_view text);

std::string EscapeXml(std::string_view text);

}  // namespace varve::objects
