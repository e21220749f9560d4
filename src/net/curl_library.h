// libcurl, loaded at the first request.
//
// Most builds talk to nobody, and libcurl with the 35 libraries behind it (TLS, Kerberos, LDAP, ICU)
// costs 5 ms of every start of the program when it is linked. Loaded on demand it costs the first
// request the same, beside a network round trip.
#pragma once

#include <curl/curl.h>

#include "base/result.h"

namespace varve::net {

// The functions of curl/curl.h by their names without "curl_".
// clang-format off
#define VARVE_CURL_FUNCTIONS(F) \
  F(global_init) F(easy_init) F(easy_cleanup) F(easy_reset) F(easy_setopt) F(easy_strerror) F(multi_init) \
  F(multi_cleanup) F(multi_add_handle) F(multi_remove_handle) F(multi_perform) F(multi_poll) F(multi_wakeup) \
  F(multi_info_read) F(multi_strerror) F(slist_append) F(slist_free_all)
// clang-format on

struct CurlLibrary {
#define VARVE_CURL_MEMBER(name) decltype(&curl_##name) name = nullptr;
  VARVE_CURL_FUNCTIONS(VARVE_CURL_MEMBER)
#undef VARVE_CURL_MEMBER

  // Loads and initialises it once; from any thread. The table lives as long as the process.
  // kInvalid, each time, where the library is missing.
  static Result<const CurlLibrary*> Get();
};

}  // namespace varve::net
