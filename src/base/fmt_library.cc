// With VARVE_STATIC: what fmt keeps out of its headers, compiled here instead of linked from libfmt.so.
// Debian has no archive of it, and the shared library asks for libstdc++.so besides.
#include <fmt/format-inl.h>

// The templates that its headers declare extern.
FMT_BEGIN_NAMESPACE
namespace detail {
template auto thousands_sep_impl<char>(locale_ref) -> thousands_sep_result<char>;
template auto decimal_point_impl<char>(locale_ref) -> char;
}  // namespace detail
FMT_END_NAMESPACE
