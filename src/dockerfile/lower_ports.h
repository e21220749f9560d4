// The words of EXPOSE: port[-port][/tcp|udp|sctp], with the "ip:port:" in front of it that
// `docker run -p` takes, which EXPOSE has always put up with.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::dockerfile {

struct ExposedPorts {
  std::vector<std::string> ports;    // "8000/tcp", one for each port of a range
  bool upper_case_protocol = false;  // "80/TCP": rule ExposeProtoCasing
  bool has_host_part = false;        // "127.0.0.1:80:80": rule ExposeInvalidFormat
};

Result<ExposedPorts> ParsePorts(std::string_view word);

}  // namespace varve::dockerfile
