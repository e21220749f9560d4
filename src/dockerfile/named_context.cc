#include "dockerfile/named_context.h"

#include "base/strings.h"
#include "graph/source_url.h"
#include "oci/reference.h"

namespace varve::dockerfile {

namespace {

// As the field's clients write a context's name: a reference in its short form, without ":latest".
std::string Normalised(std::string_view name) {
  auto reference = oci::ParseReference(name);
  if (!reference) return std::string(name);
  std::string text = reference->Familiar();
  if (text.ends_with(":latest")) text.resize(text.size() - 7);
  return text;
}

Result<graph::OciLayoutSource> ReadLayout(std::string_view text, const NamedContext& context) {
  graph::OciLayoutSource layout;
  if (size_t at = text.rfind('@'); at != text.npos) {
    auto digest = Digest::Parse(text.substr(at + 1));
    if (!digest) {
      return std::move(digest).error().With("context " + context.name);
    }
    layout.digest = *digest;
    text = text.substr(0, at);
  }
  size_t slash = text.rfind('/');
  size_t colon = text.rfind(':');
  if (colon != text.npos && (slash == text.npos || colon > slash)) {
    layout.reference = text.substr(colon + 1);
    text = text.substr(0, colon);
  }
  layout.path = text;
  if (layout.path.empty()) {
    return Invalid("context {}: oci-layout:// names no directory", context.name);
  }
  return layout;
}

}  // namespace

const NamedContext* FindNamedContext(const std::vector<NamedContext>& contexts, std::string_view name,
                                     const oci::Platform& platform) {
  if (EqualsIgnoreCase(name, "scratch") || EqualsIgnoreCase(name, "context")) return nullptr;
  std::string wanted = Normalised(name);
  std::string wanted_platform = oci::Normalise(platform).ToString();
  const NamedContext* found = nullptr;
  for (const NamedContext& context : contexts) {
    size_t colons = context.name.find("::");
    if (Normalised(std::string_view(context.name).substr(0, colons)) != wanted) continue;
    if (colons == context.name.npos) {
      found = &context;
    } else if (auto p = oci::ParsePlatform(context.name.substr(colons + 2)); p && p->ToString() == wanted_platform) {
      return &context;
    }
  }
  return found;
}

Result<ContextSource> ReadNamedContext(const NamedContext& context) {
  using Kind = ContextSource::Kind;
  ContextSource out;
  std::string_view value = context.value;
  auto after = [&](std::string_view scheme) -> std::optional<std::string_view> {
    if (!value.starts_with(scheme)) return {};
    std::string_view rest = value.substr(scheme.size());
    if (rest.starts_with("//")) rest.remove_prefix(2);
    return rest;
  };
  if (value.empty()) {
    Error error = Invalid("context {} has no value", context.name);
    error.hint = "pass --build-context NAME=VALUE";
    return error;
  }
  if (auto name = after("docker-image:")) {
    if (*name == "scratch") {
      out.kind = Kind::kScratch;
      return out;
    }
    auto reference = oci::ParseReference(*name);
    if (!reference) {
      return std::move(reference).error().With("context " + context.name);
    }
    out.kind = Kind::kImage;
    out.reference = reference->WithDefaultTag().String();
    out.step_name = fmt::format("[context {}] {}", context.name, out.reference);
    return out;
  }
  if (auto path = after("oci-layout:")) {
    out.kind = Kind::kLayout;
    TRY_ASSIGN(out.layout, ReadLayout(*path, context));
    if (auto name = oci::ParseReference(context.name.substr(0, context.name.find("::"))))
      out.layout.name = name->Name();
    out.step_name = fmt::format("[context {}] OCI load from client", context.name);
    return out;
  }
  for (const char* scheme : {"target:", "input:"}) {
    if (!value.starts_with(scheme)) continue;
    out.kind = Kind::kInput;
    out.input = value.substr(std::string_view(scheme).size());
    return out;
  }
  TRY_ASSIGN(auto git, graph::ParseGitUrl(value));
  if (git && !git->looks_local) {
    out.files = git->source;
    out.step_name = fmt::format("[context {}] load git source {}", context.name, graph::WithoutPassword(context.value));
    return out;
  }
  if (graph::IsHttpUrl(value)) {
    graph::HttpSource http;
    http.url = value;
    http.filename = "context";
    out.files = std::move(http);
    out.step_name = fmt::format("[context {}] {}", context.name, value);
    return out;
  }
  graph::LocalSource local;
  local.name = value.starts_with("local:") ? std::string(value.substr(6)) : context.name;
  out.files = std::move(local);
  out.step_name = fmt::format("[context {}] load from client", context.name);
  return out;
}

}  // namespace varve::dockerfile
