#include "dockerfile/lower_ports.h"

#include <arpa/inet.h>

#include <optional>
#include <utility>

#include "base/strings.h"
#include "dockerfile/hinted.h"

namespace varve::dockerfile {

namespace {

std::optional<std::pair<int64_t, int64_t>> PortRange(std::string_view text) {
  auto port = [](std::string_view number) -> std::optional<int64_t> {
    if (number.starts_with('+')) number.remove_prefix(1);
    auto value = ParseInt(number);
    if (!value || *value < 0 || *value > 65535) return {};
    return value;
  };
  size_t dash = text.find('-');
  auto first = port(text.substr(0, dash));
  if (!first) return {};
  if (dash == text.npos) return std::pair(*first, *first);
  auto last = port(text.substr(dash + 1));
  if (!last || *last < *first) return {};
  return std::pair(*first, *last);
}

bool IsIpAddress(std::string address) {
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  }
  unsigned char buffer[sizeof(in6_addr)];
  return inet_pton(AF_INET, address.c_str(), buffer) == 1 || inet_pton(AF_INET6, address.c_str(), buffer) == 1;
}

}  // namespace

constexpr const char* kPortHint = "write PORT, PORT-PORT or PORT/udp; tcp, udp and sctp are known";

Result<ExposedPorts> ParsePorts(std::string_view word) {
  std::vector<std::string> parts = Split(word, ':');
  std::string container = parts.back();
  parts.pop_back();
  std::string host;
  if (!parts.empty()) {
    host = parts.back();
    parts.pop_back();
  }
  std::string address = Join(parts, ":");

  size_t slash = container.find('/');
  std::string protocol = slash == container.npos ? "" : container.substr(slash + 1);
  container = container.substr(0, slash);
  if (container.empty()) return Hinted(Invalid("invalid port: \"{}\": no port specified", word), kPortHint);
  ExposedPorts out;
  std::string lower = ToLower(protocol);
  out.upper_case_protocol = lower != protocol;
  if (lower.empty()) lower = "tcp";
  if (lower != "tcp" && lower != "udp" && lower != "sctp") {
    return Hinted(Invalid("invalid port: \"{}\": invalid proto: {}", word, protocol), kPortHint);
  }
  out.has_host_part = !address.empty() || !host.empty();
  if (!address.empty() && !IsIpAddress(address)) {
    return Hinted(Invalid("invalid IP address: {}", address), kPortHint);
  }
  auto range = PortRange(container);
  if (!range) return Hinted(Invalid("invalid containerPort: {}", container), kPortHint);
  if (!host.empty()) {
    auto host_range = PortRange(host);
    if (!host_range) return Hinted(Invalid("invalid hostPort: {}", host), kPortHint);
    bool same_length = range->second - range->first == host_range->second - host_range->first;
    if (!same_length && range->first != range->second) {
      return Hinted(Invalid("invalid ranges specified for container and host Ports: {} and {}", container, host),
                    kPortHint);
    }
  }
  for (int64_t port = range->first; port <= range->second; ++port) {
    out.ports.push_back(fmt::format("{}/{}", port, lower));
  }
  return out;
}

}  // namespace varve::dockerfile
