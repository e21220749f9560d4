#include "net/curl_library.h"

#include <dlfcn.h>

#include <string>

// With gcc these are macros that look at the types of a call's arguments.
#undef curl_easy_setopt

namespace varve::net {

namespace {

// The name that the ABI goes by; libcurl.so is there only where programs are compiled.
constexpr const char* kName = "libcurl.so.4";

Error Missing(std::string_view what) {
  // Not kUnavailable: to ask again would not help.
  Error error = Invalid("cannot load libcurl, which speaks http for varve: {}", what);
  error.hint = "install it (Debian: apt-get install libcurl4)";
  return error;
}

Result<CurlLibrary> Load() {
  // Never closed: its threads and its TLS library may outlive what uses them.
  void* handle = dlopen(kName, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return Missing(dlerror());
  CurlLibrary curl;
  const char* absent = nullptr;
  auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (function == nullptr) absent = name;
  };
#define VARVE_CURL_FIND(name) find(curl.name, "curl_" #name);
  VARVE_CURL_FUNCTIONS(VARVE_CURL_FIND)
#undef VARVE_CURL_FIND
  if (absent != nullptr) return Missing(std::string(kName) + " has no " + absent);
  if (CURLcode code = curl.global_init(CURL_GLOBAL_DEFAULT); code != CURLE_OK) {
    return Missing(curl.easy_strerror(code));
  }
  return curl;
}

}  // namespace

Result<const CurlLibrary*> CurlLibrary::Get() {
  static const Result<CurlLibrary> library = Load();
  if (!library) return library.error();
  return &*library;
}

}  // namespace varve::net
