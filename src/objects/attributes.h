// Taking options out of the attributes of a --cache-from or --cache-to: each kind of store takes its own, and
// what is left is for the tier.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "net/http_client.h"

namespace varve::objects {

class Attributes {
 public:
  explicit Attributes(std::map<std::string, std::string>& attributes) : attributes_(attributes) {}

  // Empty: it was not given. The others leave `value` as it is then.
  std::string Take(const std::string& name);
  Status TakeBool(const std::string& name, bool& value);
  template <class Number>
  Status TakeCount(const std::string& name, Number& value) {  // from 1 to 1000
    int64_t count = static_cast<int64_t>(value);
    TRY(TakeNumber(name, count));
    value = static_cast<Number>(count);
    return Ok();
  }
  Status TakeTls(net::Tls& tls);  // ca and insecure

 private:
  Status TakeNumber(const std::string& name, int64_t& value);

  std::map<std::string, std::string>& attributes_;
};

}  // namespace varve::objects
