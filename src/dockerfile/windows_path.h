// Paths in Dockerfiles of Windows images: backslashes and a drive. As in BuildKit, where such an image is built on
// Linux: files are copied into it, and nothing of it is run.
#pragma once

#include <string>

#include "base/result.h"
#include "oci/platform.h"

namespace varve::dockerfile {

inline bool IsWindows(const oci::Platform& platform) { return platform.os == "windows"; }

// With slashes and without its drive: "C:\app" is "/app", "app\x" is "app/x". For other systems the path as it is.
// kInvalid for other drives than C:, for a drive alone, and for \\server\share.
Result<std::string> WithoutDrive(const oci::Platform& platform, const std::string& path);

// With the separators of the system: what an image's config has.
std::string WithNativeSeparators(const oci::Platform& platform, const std::string& path);

}  // namespace varve::dockerfile
