// SolveJob's front ends: the one for Dockerfiles, which is here, and those that are images.
#include <fcntl.h>

#include "base/strings.h"
#include "daemon/frontend_image.h"
#include "daemon/solve_job_opened.h"
#include "dockerfile/subrequests.h"
#include "oci/reference.h"
#include "sys/open.h"

namespace varve::daemon {

namespace {

// What libraries of front ends read to know of which definition they came: "the front end that I am".
constexpr char kMetadataDirectory[] = "run/config/buildkit/metadata";

// The build context, if there is one, that is to be used instead of the image `source`.
std::optional<std::string> NamedContextOf(const oci::Reference& source, const Attributes& attributes) {
  for (auto it = attributes.lower_bound("context:"); it != attributes.end() && it->first.starts_with("context:");
       ++it) {
    auto name = oci::ParseReference(it->first.substr(8));
    if (name && name->WithDefaultTag() == source.WithDefaultTag()) return it->second;
  }
  return std::nullopt;
}

std::set<std::string> SortedKeys(const llb::Definitions& inputs) {
  std::set<std::string> names;
  for (const auto& [name, definition] : inputs) names.insert(name);
  return names;
}

Status WriteMetadata(const std::string& rootfs, const pb::Definition& definition) {
  TRY_ASSIGN(Fd root, sys::OpenDir(rootfs));
  TRY_ASSIGN(Fd directory, sys::MkdirAllInRoot(root.get(), RelPath(kMetadataDirectory), 0755, 0, 0));
  TRY_ASSIGN(Fd file, sys::OpenInRoot(directory.get(), RelPath("frontend.bin"), O_WRONLY | O_CREAT | O_EXCL, 0400));
  FdWriter out(file.get());
  return out.Write(llb::Serialise(definition));
}

}  // namespace

attest::Invocation SolveJob::Asked(const std::string& frontend, const Attributes& attributes,
                                   const llb::Definitions& inputs) const {
  attest::Invocation asked{.frontend = frontend, .args = attributes};
  if (!frontend.empty() && IsDockerfileFrontend(frontend, attributes)) {
    asked.frontend = "dockerfile.v0";  // the image that it was asked for by did not run
    asked.args.erase("source");
    asked.args.erase("cmdline");
  }
  auto context = asked.args.find("context");
  // A directory of the client has no address.
  if (context != asked.args.end() && !IsRemoteContext(context->second)) asked.args.erase(context);
  for (const std::string& name : SortedKeys(inputs)) {
    if (auto made = invocations_.Find(inputs.at(name))) asked.inputs.push_back({name, std::move(*made)});
  }
  return asked;
}

attest::Invocation SolveJob::AskedByClient() const {
  return Asked(request_.frontend(), ToAttributes(request_.frontend_attrs()), request_.frontend_inputs());
}

std::optional<Failure> SolveJob::SolveFrontend(const std::string& frontend, const Attributes& attributes,
                                               const llb::Definitions& given_inputs, const Policies& policies,
                                               bool evaluate, gateway::Result& result) {
  if (policy_.disabled_frontends.contains(frontend)) {
    return Failure{.error = NotFound("frontend {} not found: the configuration of this daemon disables it", frontend)};
  }
  if (!IsDockerfileFrontend(frontend, attributes)) {
    if (frontend != "gateway.v0") return Failure{.error = NotFound("unsupported frontend {}", frontend)};
    return SolveImageFrontend(attributes, given_inputs, policies, evaluate, result);
  }
  // What is attested is asked of the whole build; all else is this call's.
  Attributes all = attributes;
  for (const auto& [key, value] : request_.frontend_attrs()) {
    if (key.starts_with("attest:")) all.try_emplace(key, value);
  }
  std::vector<std::string> entitlements(request_.entitlements().begin(), request_.entitlements().end());
  auto request = ParseFrontendRequest(all, entitlements);
  if (!request) return Failure{request.error()};
  for (const std::string& capability : request->wanted_capabilities) {
    if (IsFrontendCapability(capability)) continue;
    return Failure{.error = Invalid("unsupported frontend capability {}", capability), .capability = capability};
  }
  auto inputs = llb::DecodeInputs(given_inputs, llb::StringAttributes(all.begin(), all.end()));
  if (!inputs) return Failure{inputs.error()};
  for (auto& [name, input] : inputs->by_name) {
    Status granted = llb::CheckEntitlements(input.build.graph, {entitlements.begin(), entitlements.end()});
    if (granted) granted = GrantDevices(input.build.graph, entitlements, policy_.devices);
    if (!granted) return Failure{granted.error()};
  }
  std::vector<tier::Spec> cache_from;
  BuildTargets targets;
  if (Status read = ReadTargets(all, cache_from, targets); !read) return Failure{read.error()};
  auto policy = PolicyOf(policies);
  if (!policy) return Failure{policy.error()};
  auto place = Place(*policy);
  if (!place) return Failure{place.error()};
  const bool asks = !request->subrequest.empty();
  const attest::Invocation asked = Asked(frontend, attributes, given_inputs);
  auto build = std::make_shared<DockerfileBuild>(std::move(*request), std::move(*inputs), std::move(cache_from),
                                                 std::move(targets), std::move(*place),
                                                 BuildOrigin{.asked = asked, .client = AskedByClient()});
  std::optional<Failure> failure;
  if (asks) {
    auto answer = build->Answer(failure);
    if (build->other_frontend())
      return Forward(*build->other_frontend(), std::move(all), given_inputs, policies, evaluate, result);
    if (!answer) return failure ? failure : Failure{answer.error()};
    auto& metadata = *result.mutable_metadata();
    metadata["result.json"] = answer->json.Dump({.indent = 2});
    metadata["result.txt"] = answer->text;
    metadata["result.statuscode"] = std::to_string(answer->status);
    metadata["version"] = std::string(dockerfile::kSubrequestVersion);
    return std::nullopt;
  }
  failure = build->Prepare();
  if (build->other_frontend())
    return Forward(*build->other_frontend(), std::move(all), given_inputs, policies, evaluate, result);
  if (failure && *policy) failure->deny_messages = (*policy)->deny_messages();
  if (failure) return failure;
  Describe(build, asked, result);
  return evaluate ? Evaluate(*build, false) : std::nullopt;
}

// The build's results as references that the client hands back, their configs, and as definitions that other
// builds may go on with.
void SolveJob::Describe(const std::shared_ptr<DockerfileBuild>& build, const attest::Invocation& asked,
                        gateway::Result& result) {
  const dockerfile::LoweredPlatforms& platforms = build->lowered();
  auto& metadata = *result.mutable_metadata();
  for (size_t i = 0; i < platforms.results.size(); ++i) {
    gateway::Ref made;
    made.set_id(NewRef({build, i, nullptr}));
    *made.mutable_def() = build->Definition(i, request_.session());
    invocations_.Add(ref(), made.def(), asked);
    const std::string platform = platforms.results[i].platform.ToString();
    std::string config = platforms.results[i].lowered.config.Serialise();
    if (platforms.multi_platform) {
      (*result.mutable_refs()->mutable_refs())[platform] = std::move(made);
      metadata["containerimage.config/" + platform] = config;
    } else {
      *result.mutable_ref() = std::move(made);
      metadata["containerimage.config"] = config;
    }
  }
  metadata["refs.platforms"] = PlatformList(platforms).Dump();
}

// To the front end that the file itself asks for, with all that this one was asked.
std::optional<Failure> SolveJob::Forward(const DockerfileBuild::OtherFrontend& to, Attributes attributes,
                                         const llb::Definitions& inputs, const Policies& policies, bool evaluate,
                                         gateway::Result& result) {
  if (policy_.disabled_frontends.contains("gateway.v0")) {
    return Failure{
        .error = NotFound("frontend gateway.v0 not found: the configuration of this daemon disables it, and the "
                          "Dockerfile asks for {}",
                          to.syntax.frontend),
        .place = to.place};
  }
  attributes["source"] = to.syntax.frontend;
  attributes["cmdline"] = to.syntax.command;
  auto failure = SolveImageFrontend(attributes, inputs, policies, evaluate, result);
  if (failure && !failure->place) failure->place = to.place;
  return failure;
}

// The files of the front end as a result of this job, and what its image's config says.
Result<SolveJob::FrontendFiles> SolveJob::FindFrontend(const std::string& source, const Attributes& attributes,
                                                       const llb::Definitions& inputs, const Policies& policies) {
  TRY_ASSIGN(oci::Reference reference, oci::ParseReference(source));
  if (!policy_.allowed_frontends.empty() && !policy_.allowed_frontends.contains(reference.Name())) {
    return Invalid("'{}' is not an allowed gateway source", source);
  }
  std::string image = source;
  if (auto context = NamedContextOf(reference, attributes)) {
    if (context->starts_with("input:")) {
      const std::string name = context->substr(6);
      auto input = inputs.find(name);
      if (input == inputs.end())
        return NotFound("the front end {} is to be the input {}, which the client has not given", source, name);
      TRY_ASSIGN(auto decoded, llb::DecodeInputs(inputs, llb::StringAttributes(attributes.begin(), attributes.end())));
      return FrontendFiles{input->second, decoded.by_name.at(name).config.value_or(oci::ImageConfig())};
    }
    if (!context->starts_with("docker-image:")) {
      return Invalid(
          "the front end {} is to come from the build context {}: only images and results of builds can be front ends",
          source, *context);
    }
    image = context->substr(13);
    if (image.starts_with("//")) image.erase(0, 2);
  }
  gateway::ResolveImageConfigRequest question;
  question.set_ref(image);
  *question.mutable_source_policies() = policies;
  gateway::ResolveImageConfigResponse found;
  if (auto status = ResolveImage(question, found); status.code() != 0) {
    return FromGrpc(ToGrpc(status)).With("front end " + source);
  }
  TRY_ASSIGN(oci::ImageConfig config, oci::ImageConfig::Parse(found.config()));
  TRY_ASSIGN(reference, oci::ParseReference(found.ref()));
  TRY_ASSIGN(reference.digest, Digest::Parse(found.digest()));
  graph::Graph graph;
  graph.Add(
      {.op = graph::ImageSource{.reference = reference.String()}, .name = "docker-image://" + reference.String()});
  return FrontendFiles{llb::Encode(graph, graph::Ref{0, 0}), std::move(config)};
}

std::optional<Failure> SolveJob::SolveImageFrontend(const Attributes& attributes, const llb::Definitions& inputs,
                                                    const Policies& policies, bool evaluate, gateway::Result& result) {
  if (attributes.contains("gateway-devel")) return Failure{Invalid("development gateway is no longer supported")};
  auto source = attributes.find("source");
  if (source == attributes.end()) return Failure{Invalid("no source specified for gateway")};
  auto found = FindFrontend(source->second, attributes, inputs, policies);
  if (!found) return Failure{found.error()};
  const FrontendImage image = FrontendImageOf(found->config);
  if (auto failure = CheckCapabilities(image, attributes, !inputs.empty())) return failure;
  gateway::Result files;
  if (auto failure = SolveDefinition(found->definition, policies, false, files)) return failure;
  cache::Rootfs rootfs;
  if (auto failure = RootfsOf(files.ref().id(), rootfs)) return failure;

  auto run = [&](sandbox::Streams streams) -> Result<sandbox::Outcome> {
    gateway::NewContainerRequest wanted;
    wanted.add_mounts()->set_dest("/");
    if (image.no_network) wanted.set_network(pb::NONE);
    TRY_ASSIGN(Opened * opened, Open());
    TRY_ASSIGN(auto container, FrontendContainer::Create(wanted, {rootfs}, {}, policy_.steps, opened->workspace,
                                                         *opened->client, stop_.get_token()));
    TRY_ASSIGN(std::string root, container->DirectoryOf(0));
    TRY(WriteMetadata(root, found->definition));
    gateway::InitMessage program;
    auto env = EnvironmentOf(image, attributes, request_.session(), worker_);
    program.mutable_meta()->mutable_args()->Assign(image.args.begin(), image.args.end());
    program.mutable_meta()->mutable_env()->Assign(env.begin(), env.end());
    program.mutable_meta()->set_cwd(image.cwd);
    sandbox::ProcessHandle handle;
    return container->Run(program, std::move(streams), handle, stop_.get_token());
  };
  const attest::Invocation asked = Asked("gateway.v0", attributes, inputs);
  const FrontendCall call{.name = source->second, .job = *this, .inputs = inputs, .asked = asked, .worker = worker_};
  if (auto failure = RunFrontend(call, run, result)) return failure;
  return evaluate ? EvaluateAll(result) : std::nullopt;
}

std::optional<Failure> SolveJob::EvaluateAll(const gateway::Result& result) {
  auto wanted = WantedOf(result);
  if (!wanted) return Failure{wanted.error()};
  for (const Wanted& one : *wanted) {
    if (auto failure = Evaluate(*one.made.build, false)) return failure;
  }
  return std::nullopt;
}

}  // namespace varve::daemon
