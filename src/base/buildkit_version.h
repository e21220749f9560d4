// The BuildKit that varve stands for where somebody asks: clients decide by it what they may ask the daemon for, and
// servers tell by it what a download is for.
#pragma once

namespace varve {

inline constexpr char kBuildkitVersion[] = "v0.26.0";
inline constexpr char kBuildkitMinor[] = "v0.26";  // as it stands in its User-Agent

}  // namespace varve
