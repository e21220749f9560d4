// GNU libmicrohttpd, loaded when a server starts: it brings GnuTLS with it, and no other command should
// pay for that (net/curl_library.h has the numbers).
#pragma once

#include <microhttpd.h>

#include "base/result.h"

namespace varve::gha_server {

// The functions of microhttpd.h by their names without "MHD_".
// clang-format off
#define VARVE_MHD_FUNCTIONS(F) \
  F(start_daemon) F(stop_daemon) F(get_daemon_info) F(lookup_connection_value) F(get_connection_values) \
  F(create_response_from_buffer) F(create_response_from_fd_at_offset64) F(add_response_header) \
  F(queue_response) F(destroy_response)
// clang-format on

struct MicrohttpdLibrary {
#define VARVE_MHD_MEMBER(name) decltype(&MHD_##name) name = nullptr;
  VARVE_MHD_FUNCTIONS(VARVE_MHD_MEMBER)
#undef VARVE_MHD_MEMBER

  // Loads it once; from any thread. kInvalid, each time, where the library is missing.
  static Result<const MicrohttpdLibrary*> Get();
};

}  // namespace varve::gha_server
