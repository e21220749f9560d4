#pragma once

namespace varve::job {
inline constexpr const char* kVersion = "0.1.0";
}
