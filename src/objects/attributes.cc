#include "objects/attributes.h"

#include "base/strings.h"

namespace varve::objects {

std::string Attributes::Take(const std::string& name) {
  auto node = attributes_.extract(name);
  return node.empty() ? std::string() : std::move(node.mapped());
}

Status Attributes::TakeBool(const std::string& name, bool& value) {
  std::string text = Take(name);
  if (text.empty()) return Ok();
  auto parsed = ParseBool(text);
  if (!parsed) return Invalid("{}={}: neither true nor false", name, text);
  value = *parsed;
  return Ok();
}

Status Attributes::TakeNumber(const std::string& name, int64_t& value) {
  std::string text = Take(name);
  if (text.empty()) return Ok();
  auto parsed = ParseInt(text);
  if (!parsed || *parsed < 1 || *parsed > 1000) return Invalid("{}={}: not a number from 1 to 1000", name, text);
  value = *parsed;
  return Ok();
}

Status Attributes::TakeTls(net::Tls& tls) {
  tls.ca = Take("ca");
  return TakeBool("insecure", tls.insecure);
}

}  // namespace varve::objects
