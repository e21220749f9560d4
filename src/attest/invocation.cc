#include "attest/invocation.h"

#include <set>

#include "graph/source_url.h"

namespace varve::attest {

namespace {

// Not told: what is of the machine that built, and what asks for attestations (FilterArgs).
bool IsToldAtAll(const std::string& name) {
  static const std::set<std::string> kOfTheHost = {
      "cgroup-parent", "image-resolve-mode", "platform", "cache-imports", "context", "filename"};
  return !kOfTheHost.contains(name) && !name.starts_with("attest:") && !name.starts_with("vcs:");
}

bool IsForMaxOnly(const std::string& name) { return name.starts_with("build-arg:") || name.starts_with("label:"); }

Json Told(const Invocation& invocation, bool max, bool& complete) {
  Json source = ConfigSource(invocation);
  const std::string path = ConfigPath(invocation);
  source.SetIf(!path.empty(), "path", path);
  Json request = Json::EmptyObject();
  request.SetIf(!invocation.frontend.empty(), "frontend", invocation.frontend);
  const Json args = ToldArgs(invocation, max, complete);
  request.SetIf(!args.as_object().empty(), "args", args);
  const Json inputs = ToldInputs(invocation, max, complete);
  request.SetIf(!inputs.is_null(), "inputs", inputs);
  return Json().Set("configSource", std::move(source)).Set("request", std::move(request));
}

}  // namespace

bool Invocation::operator==(const Invocation& other) const {
  return frontend == other.frontend && args == other.args && context_digest == other.context_digest &&
         inputs == other.inputs;
}

Json ToldArgs(const Invocation& invocation, bool max, bool& complete) {
  Json args = Json::EmptyObject();
  for (const auto& [name, value] : invocation.args) {
    if (!IsToldAtAll(name)) continue;
    if (!max && IsForMaxOnly(name)) {
      complete = false;
      continue;
    }
    args.Set(name, name.starts_with("context:") ? graph::WithoutCredentials(value) : value);
  }
  return args;
}

Json ConfigSource(const Invocation& invocation) {
  Json source = Json::EmptyObject();
  auto context = invocation.args.find("context");
  if (context == invocation.args.end()) return source;
  source.Set("uri", graph::WithoutCredentials(context->second));
  if (invocation.context_digest) {
    source.Set("digest", Json().Set(invocation.context_digest->first, invocation.context_digest->second));
  }
  return source;
}

std::string ConfigPath(const Invocation& invocation) {
  auto file = invocation.args.find("filename");
  return file == invocation.args.end() ? "" : file->second;
}

Json ToldInputs(const Invocation& invocation, bool max, bool& complete) {
  Json inputs;
  for (const NamedInvocation& input : invocation.inputs) inputs.Set(input.name, Told(input.invocation, max, complete));
  return inputs;
}

Json ToldClient(const Invocation& client, const Invocation& own, bool max, bool& complete) {
  bool all = true;
  Json told = Told(client, max, all);
  bool own_all = true;
  if (told.Find("request")->as_object().empty() || told == Told(own, max, own_all)) return {};
  complete = complete && all;
  return told;
}

}  // namespace varve::attest
