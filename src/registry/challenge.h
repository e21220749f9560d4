// WWW-Authenticate: what a server wants to see before it answers (RFC 9110 §11.6.1).
//
//   Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a:pull"
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace varve::registry {

struct Challenge {
  std::string scheme;                             // lower case
  std::map<std::string, std::string> parameters;  // names in lower case
  std::string Get(const std::string& name) const;
};

// Of all the header's lines, each of which may hold several. What cannot be read is left out.
std::vector<Challenge> ParseChallenges(const std::vector<std::string_view>& headers);

}  // namespace varve::registry
