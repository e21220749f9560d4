// Answers of S3 and STS, and AWS's shared files: any bytes give an error or a value.
//
// The first byte chooses: 'x' an answer, 'i' a file.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "objects/aws_config.h"
#include "objects/s3_answer.h"
#include "objects/xml.h"

namespace {

using namespace varve::objects;  // NOLINT

int DepthOf(const XmlElement& element) {
  int depth = 0;
  for (const XmlElement& child : element.children) depth = std::max(depth, DepthOf(child));
  return depth + 1;
}

void FuzzAnswer(std::string_view text) {
  if (auto root = ParseXml(text)) CHECK(DepthOf(*root) <= 32);
  (void)ReadS3Error(text).code.size();
  // What we escape is read back, but for the line ends and characters that XML does not have.
  if (text.find_first_not_of("<>&\"' abcxyz") == text.npos) {
    auto again = ParseXml("<a>" + EscapeXml(text) + "</a>");
    CHECK(again && again->text == text);
  }
}

void FuzzFile(std::string_view text) {
  auto profiles = ParseAwsFile(text);
  if (!profiles) CHECK(profiles.error().message.starts_with("line "));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'x') FuzzAnswer(input);
  if (data[0] == 'i') FuzzFile(input);
  return 0;
}
