#pragma once

namespace varve::cli {
inline constexpr const char* kVersion = "0.1.0";
}
