// The texts of /etc/hosts and /etc/resolv.conf inside a build step.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace varve::sandbox {

struct ExtraHost {
  std::string name, address;
};

std::string HostsFile(std::string_view hostname, const std::vector<ExtraHost>& extra);

// resolv.conf(5) for a step: servers on a loopback address are dropped (they answer on the host
// only) unless the step shares the host's network namespace; when none is left, public resolvers
// stand in. Lines other than nameserver are kept.
std::string ResolvConf(std::string_view host_text, bool host_network);

// The host's text to start from: /etc/resolv.conf, or systemd-resolved's own list when the former
// names only its listener 127.0.0.53. Empty when there is none.
std::string HostResolvConf(const std::string& etc_path = "/etc/resolv.conf",
                           const std::string& resolved_path = "/run/systemd/resolve/resolv.conf");

}  // namespace varve::sandbox
