// Addresses: of registries and files, of git repositories, of a redirect, of a named context. What a
// message shows of one never has its password.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dockerfile/named_context.h"
#include "graph/source_url.h"
#include "net/url.h"

namespace {

using namespace varve;  // NOLINT

void FuzzUrl(std::string_view text) {
  (void)net::Redact(text);
  auto url = net::ParseUrl(text);
  if (!url) return;
  auto again = net::ParseUrl(url->String());
  CHECK(again && again->String() == url->String());
  CHECK(net::SameOrigin(*url, *again));
  CHECK(net::ParseUrl(url->Origin()).has_value());
  if (url->user_info.size() > 3) CHECK(!net::Redact(text).contains(url->user_info + "@"));
  url->AddQuery("scope", text);
  CHECK(net::ParseUrl(url->String()).has_value());
}

void FuzzRedirect(std::string_view location) {
  auto base = net::ParseUrl("https://name:secret@host.example.com:8443/a/b?c=d");
  CHECK(base.has_value());
  auto url = net::ResolveUrl(*base, location);
  if (!url) return;
  CHECK(net::ParseUrl(url->String()).has_value());
  // Credentials do not follow to another place.
  if (!net::SameOrigin(*base, *url)) CHECK(url->user_info != "name:secret" || location.contains('@'));
}

void FuzzGit(std::string_view text) {
  (void)graph::CheckGitRemote(text);
  (void)graph::CheckGitRef(text);
  if (graph::IsHttpUrl(text)) CHECK(!graph::HttpFileName(text).contains('/'));
  auto git = graph::ParseGitUrl(text);
  if (!git || !*git || (*git)->looks_local) return;
  const graph::GitSource& source = (*git)->source;
  // What git is started with cannot be an option or another transport.
  CHECK(graph::CheckGitRemote(source.remote).has_value());
  CHECK(!source.remote.starts_with('-') && !source.remote.contains("::"));
  CHECK(!source.ref.starts_with('-'));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  FuzzUrl(input);
  FuzzRedirect(input);
  FuzzGit(input);
  (void)dockerfile::ReadNamedContext({"base", std::string(input)});
  return 0;
}
