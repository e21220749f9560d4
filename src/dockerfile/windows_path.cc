#include "dockerfile/windows_path.h"

#include "base/strings.h"

namespace varve::dockerfile {

Result<std::string> WithoutDrive(const oci::Platform& platform, const std::string& path) {
  if (!IsWindows(platform)) return path;
  const std::string slashed = ReplaceAll(path, "\\", "/");
  auto refuse = [&](std::string message, std::string hint) -> Error {
    return Error{Code::kInvalid, "removing drive letter: " + std::move(message), std::move(hint)};
  };
  if (slashed.starts_with("//")) return refuse("UNC paths are not supported", "name a directory of the image");
  const size_t colon = slashed.find(':');
  if (colon == slashed.npos) return slashed;
  if (slashed.size() == 2 && colon == 1) {
    return refuse(fmt::format("No relative path specified in \"{}\"", path), "write C:\\ for the root");
  }
  if (ToLower(slashed.substr(0, colon)) != "c") {
    return refuse("The specified path is not on the system drive (C:)", "images have no other drive");
  }
  return slashed.substr(colon + 1);
}

std::string WithNativeSeparators(const oci::Platform& platform, const std::string& path) {
  return IsWindows(platform) ? ReplaceAll(path, "/", "\\") : path;
}

}  // namespace varve::dockerfile
