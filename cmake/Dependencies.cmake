# Debian's packages, each used behind one wrapper; doc/dependencies.md says why each is here.

# A shared library costs every start of the program 0.05 to 0.6 ms, a no-op build has 8: what is there
# as an archive is linked as one, libstdc++ included. libcurl is loaded when it is needed.
if(VARVE_STATIC)
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a .so)
  if(NOT VARVE_SANITIZE)
    target_link_options(varve_flags INTERFACE -static-libstdc++ -static-libgcc)
  endif()
  # 24,000 addresses in vtables and tables are to be moved at each start; packed they are a few pages to read instead of
  # 140. Needs a libc that knows the form (glibc 2.36).
  include(CheckCXXSourceRuns)
  set(CMAKE_REQUIRED_LINK_OPTIONS -Wl,-z,pack-relative-relocs)
  check_cxx_source_runs("const char* const words[] = {\"a\", \"b\"}; int main(int n, char**) { return words[n & 1] == nullptr; }"
                        VARVE_PACKED_RELOCATIONS)
  unset(CMAKE_REQUIRED_LINK_OPTIONS)
  if(VARVE_PACKED_RELOCATIONS)
    target_link_options(varve_flags INTERFACE -Wl,-z,pack-relative-relocs)
  endif()
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CURL REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CLI11 REQUIRED)
find_package(BZip2 REQUIRED)
find_package(LibLZMA REQUIRED)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(MICROHTTPD REQUIRED libmicrohttpd)
pkg_check_modules(EXPAT REQUIRED IMPORTED_TARGET expat)
find_path(TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED)  # its headers alone: a library would cost each start
pkg_check_modules(RE2 REQUIRED IMPORTED_TARGET re2)
# For the daemon alone, never for the program varve: loading gRPC takes longer than a build that has nothing to do.
find_package(Protobuf REQUIRED)
# Its .pc file names the archives of absl hundreds of times over, which CMake looks up for minutes where archives are
# wanted (VARVE_STATIC); shared, these are all.
add_library(PkgConfig::GRPCPP INTERFACE IMPORTED)
foreach(name grpc++ grpc gpr absl_synchronization)
  find_library(GRPC_LIBRARY_${name} lib${name}.so REQUIRED)
  target_link_libraries(PkgConfig::GRPCPP INTERFACE ${GRPC_LIBRARY_${name}})
endforeach()
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
find_library(UNISTRING_LIBRARY unistring REQUIRED)  # has no .pc file
add_library(UNISTRING::unistring UNKNOWN IMPORTED)
set_target_properties(UNISTRING::unistring PROPERTIES IMPORTED_LOCATION ${UNISTRING_LIBRARY})
find_library(CRYPT_LIBRARY crypt REQUIRED)  # by its file, so that an archive is taken where archives are wanted
pkg_check_modules(SECCOMP IMPORTED_TARGET libseccomp)
if(VARVE_TESTS)
  find_package(GTest REQUIRED)
endif()
if(VARVE_BENCH)
  find_package(benchmark REQUIRED)
endif()
