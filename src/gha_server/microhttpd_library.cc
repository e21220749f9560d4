#include "gha_server/microhttpd_library.h"

#include <dlfcn.h>

#include <string>
#include <type_traits>

namespace varve::gha_server {

namespace {

constexpr const char* kName = "libmicrohttpd.so.12";

Error Missing(std::string_view what) {
  Error error = Invalid("cannot load libmicrohttpd, which speaks http for varve cache-server: {}", what);
  error.hint = "install it (Debian: apt-get install libmicrohttpd12)";
  return error;
}

Result<MicrohttpdLibrary> Load() {
  void* handle = dlopen(kName, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return Missing(dlerror());
  MicrohttpdLibrary mhd;
  const char* absent = nullptr;
  auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (function == nullptr) absent = name;
  };
#define VARVE_MHD_FIND(name) find(mhd.name, "MHD_" #name);
  VARVE_MHD_FUNCTIONS(VARVE_MHD_FIND)
#undef VARVE_MHD_FIND
  if (absent != nullptr) return Missing(std::string(kName) + " has no " + absent);
  return mhd;
}

}  // namespace

Result<const MicrohttpdLibrary*> MicrohttpdLibrary::Get() {
  static const Result<MicrohttpdLibrary> library = Load();
  if (!library) return library.error();
  return &*library;
}

}  // namespace varve::gha_server
