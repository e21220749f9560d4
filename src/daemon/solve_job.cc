#include "daemon/solve_job.h"

#include <algorithm>

#include "base/hex.h"
#include "base/log.h"
#include "base/strings.h"
#include "daemon/refusals.h"
#include "daemon/result_attestations.h"
#include "daemon/result_metadata.h"
#include "daemon/solve_job_opened.h"
#include "job/collect_after.h"
#include "job/exit_code.h"

namespace varve::daemon {

namespace {

google::rpc::Status StatusOf(const Error& error) { return ToProto({.error = error}); }

// Answers are strings; what is no string is JSON, in base64 where clients expect it so.
void PutAnswer(const Json& metadata, control::SolveResponse& response) {
  auto& out = *response.mutable_exporter_response();
  for (const auto& [key, value] : metadata.as_object()) {
    if (value.is_string()) {
      out[key] = value.as_string();
    } else {
      out[key] = Base64Encode(value.Dump());
    }
  }
}

}  // namespace

SolveJob::SolveJob(control::SolveRequest request, SolvePolicy policy, const WorkerFacts& worker,
                   Invocations& invocations, FindClient find_client)
    : request_(std::move(request)), policy_(std::move(policy)), worker_(worker), invocations_(invocations),
      find_client_(std::move(find_client)), feed_holder_(std::make_shared<StatusFeed>(request_.ref())),
      feed_(*feed_holder_) {}

SolveJob::~SolveJob() = default;

Status SolveJob::CheckRequest() const {
  for (const std::string& entitlement : request_.entitlements()) {
    const std::string kind = entitlement.substr(0, entitlement.find('='));
    if (policy_.entitlements.contains(kind)) continue;
    return Invalid("granting entitlement {} is not allowed by build daemon configuration", entitlement);
  }
  // To ignore it would be to let steps reach what the client wants to watch over.
  if (request_.proxy_network()) return Invalid("this daemon has no proxy network: steps reach the network directly");
  return Ok();
}

Result<SolveJob::Opened*> SolveJob::Open() {
  std::lock_guard lock(mutex_);
  if (over_) return Cancelled("the build {} is over", ref());
  if (opened_) return opened_.get();
  TRY_ASSIGN(auto client, find_client_(stop_.get_token()));
  job::RegistryOptions registries{.config = policy_.registries, .credentials = nullptr};
  registries.credentials = [client](const std::string& host, std::stop_token stop) {
    return client->Credentials(host, std::move(stop));
  };
  registries.tokens = [client](const registry::TokenRequest& request, std::stop_token stop) {
    return client->Token(request, std::move(stop));
  };
  TRY_ASSIGN(auto workspace, job::Workspace::Open({.root = policy_.root}, std::move(registries)));
  TRY_ASSIGN(auto config, job::ReadBuildConfig(workspace.root));
  opened_.reset(new Opened{.client = std::move(client),
                           .workspace = std::move(workspace),
                           .board = nullptr,
                           .config = std::move(config),
                           .history = {},
                           .end = {}});
  opened_->board = std::make_unique<progress::Board>(feed_.MakeDisplay(), SystemClock());
  if (!request_.internal()) {
    history::Build header;
    header.command = "serve";
    header.name = ref();
    header.project = opened_->client->project();
    opened_->history.emplace(opened_->workspace, std::move(header));
  }
  return opened_.get();
}

// Ends what Open began: nothing of the build may run any more.
void SolveJob::Close(const google::rpc::Status& status) {
  stop_.request_stop();
  std::unique_lock calls(calls_);
  std::lock_guard running(running_);
  containers_.ReleaseAll();
  invocations_.Forget(ref());
  std::unique_ptr<Opened> opened;
  std::map<std::string, Made> made;
  {
    std::lock_guard lock(mutex_);
    over_ = true;
    opened = std::move(opened_);
    made = std::exchange(made_, {});
  }
  changed_.notify_all();
  if (opened) {
    if (opened->history) {
      if (status.code() != 0) {
        Code code = status.code() == grpc::StatusCode::CANCELLED ? Code::kCancelled : Code::kInvalid;
        opened->end.error = Error{code, status.message(), {}};
        opened->end.exit_code = job::ExitCodeOf(*opened->end.error);
      }
      build_ = opened->history->Finish(opened->end, *opened->board, opened->config);
    }
    opened->board->Close();
    made.clear();
    if (Status flushed = opened->workspace.local.store->Flush(); !flushed) {
      LOG_WARN("{}", flushed.error().message);
    }
    job::EndBuild(opened->workspace);
  }
  feed_.End();
}

google::rpc::Status SolveJob::Finish(control::SolveResponse& response) {
  google::rpc::Status status = Work(response);
  // Whatever it was that ended first: the client asked for the end.
  if (status.code() != 0 && stop_.stop_requested()) status = StatusOf(Cancelled("context canceled"));
  Close(status);
  return status;
}

google::rpc::Status SolveJob::Work(control::SolveResponse& response) {
  if (Status good = CheckRequest(); !good) return StatusOf(good.error());
  gateway::Result result;
  if (!request_.frontend().empty()) {
    auto failure = SolveFrontend(request_.frontend(), ToAttributes(request_.frontend_attrs()),
                                 request_.frontend_inputs(), {}, false, result);
    if (failure) return ToProto(*failure);
  } else if (request_.has_definition()) {  // also without any Op: an empty file system
    if (auto failure = SolveDefinition(request_.definition(), {}, false, result)) return ToProto(*failure);
  } else {
    google::rpc::Status returned = AwaitReturn(result);
    if (returned.code() != 0) return returned;
  }
  auto failure = Deliver(result, response);
  return failure ? ToProto(*failure) : google::rpc::Status();
}

google::rpc::Status SolveJob::AwaitReturn(gateway::Result& result) {
  std::stop_callback wake(stop_.get_token(), [this] {
    { std::lock_guard lock(mutex_); }
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return returned_ || stop_.stop_requested(); });
  if (!returned_) return StatusOf(Cancelled("context canceled"));
  if (returned_->has_error() && returned_->error().code() != 0) return returned_->error();
  result = returned_->result();
  return {};
}

void SolveJob::Return(const gateway::ReturnRequest& request) {
  {
    std::lock_guard lock(mutex_);
    if (!returned_) returned_ = request;
  }
  changed_.notify_all();
}

google::rpc::Status SolveJob::Solve(const gateway::SolveRequest& request, gateway::SolveResponse& response,
                                    const attest::Invocation* caller) {
  if (Status good = CheckRequest(); !good) return StatusOf(good.error());
  std::optional<Failure> failure;
  if (!request.frontend().empty()) {
    failure = SolveFrontend(request.frontend(), WithCacheImports(ToAttributes(request.frontend_opt()), request),
                            request.frontend_inputs(), request.source_policies(), request.evaluate(),
                            *response.mutable_result());
  } else if (request.definition().def_size() > 0) {
    failure = SolveDefinition(request.definition(), request.source_policies(), request.evaluate(),
                              *response.mutable_result(), WithCacheImports({}, request), caller);
  }
  if (failure) return ToProto(*failure);
  response.mutable_result();  // also an empty one: without it, clients look for the reference of old times
  if (!request.allow_result_return()) {
    response.set_ref(response.result().ref().id());
    response.clear_result();
  }
  return {};
}

Status SolveJob::ReadTargets(const Attributes& attributes, std::vector<tier::Spec>& cache_from,
                             BuildTargets& targets) const {
  TRY_ASSIGN(cache_from, ParseCacheImports(request_, attributes));
  TRY_ASSIGN(targets.cache_to, ParseCacheExports(request_));
  TRY(RefuseClientsFiles(cache_from));
  TRY(RefuseClientsFiles(targets.cache_to));
  TRY_ASSIGN(targets.outputs, ParseExporters(request_));
  return Ok();
}

Result<BuildPlace> SolveJob::Place(std::shared_ptr<JobPolicy> policy) {
  TRY_ASSIGN(Opened * opened, Open());
  return BuildPlace{opened->workspace,
                    *opened->board,
                    feed_,
                    *opened->client,
                    ref(),
                    request_.session(),
                    policy_.steps,
                    policy_.provenance_environment,
                    policy_.devices,
                    stop_.get_token(),
                    std::move(policy),
                    opened->config.trace_shadow};
}

std::string SolveJob::NewRef(Made made) {
  std::lock_guard lock(mutex_);
  std::string id = Digest::Of(fmt::format("{}\n{}", ref(), made_.size())).Hex().substr(0, 25);
  made_[id] = std::move(made);
  return id;
}

std::optional<Failure> SolveJob::SolveDefinition(const pb::Definition& definition, const Policies& policies,
                                                 bool evaluate, gateway::Result& result, const Attributes& attributes,
                                                 const attest::Invocation* caller) {
  auto policy = PolicyOf(policies);
  if (!policy) return Failure{policy.error()};
  llb::DecodeOptions options;
  if (*policy) {
    auto replaced = ReplacedSources(definition, **policy);
    if (!replaced) return Failure{.error = replaced.error(), .deny_messages = (*policy)->deny_messages()};
    options.replaced = std::move(*replaced);
  }
  auto decoded = llb::Decode(definition, options);
  if (!decoded) return Failure{decoded.error()};
  const std::vector<std::string> entitlements(request_.entitlements().begin(), request_.entitlements().end());
  if (Status granted = GrantDevices(decoded->graph, entitlements, policy_.devices); !granted)
    return Failure{granted.error()};
  job::BuildFlags flags;
  BuildTargets targets;
  Attributes all = ToAttributes(request_.frontend_attrs());
  for (const auto& [key, value] : attributes) all[key] = value;
  if (Status read = ReadTargets(all, flags.cache_from, targets); !read) {
    return Failure{read.error()};
  }
  flags.cache_to = targets.cache_to;
  flags.allow = entitlements;
  auto attest = ParseAttestations(ToAttributes(request_.frontend_attrs()));
  if (!attest) return Failure{attest.error()};
  flags.attest = std::move(*attest);
  auto place = Place(std::move(*policy));
  if (!place) return Failure{place.error()};
  std::optional<BuildOrigin> origin;
  if (caller != nullptr) {
    origin = BuildOrigin{.asked = *caller, .client = AskedByClient()};
    invocations_.Add(ref(), definition, *caller);
  }
  auto build = std::make_shared<LlbBuild>(std::move(*decoded), definition, std::move(flags), std::move(targets),
                                          std::move(*place), std::move(origin));
  result.mutable_ref()->set_id(NewRef({build, 0, build.get()}));
  *result.mutable_ref()->mutable_def() = definition;
  return evaluate ? Evaluate(*build, false) : std::nullopt;
}

Result<SolveJob::Made> SolveJob::FindMade(const std::string& ref) {
  std::lock_guard lock(mutex_);
  auto it = made_.find(ref);
  if (it == made_.end()) return NotFound("no such reference {}", ref);
  return it->second;
}

// A platform without a reference is one with an empty file system.
std::optional<Failure> SolveJob::FillEmptyRefs(gateway::Result& result) {
  gateway::Result empty;
  auto fill = [&](std::string& id) -> std::optional<Failure> {
    if (!id.empty()) return std::nullopt;
    if (empty.ref().id().empty()) {
      if (auto failure = SolveDefinition({}, {}, false, empty)) return failure;
    }
    id = empty.ref().id();
    return std::nullopt;
  };
  if (result.has_refs()) {
    for (auto& [platform, ref] : *result.mutable_refs()->mutable_refs()) {
      if (auto failure = fill(*ref.mutable_id())) return failure;
    }
  }
  if (result.has_refs_deprecated()) {
    for (auto& [platform, ref] : *result.mutable_refs_deprecated()->mutable_refs()) {
      if (auto failure = fill(ref)) return failure;
    }
  }
  return std::nullopt;
}

Result<SolveJob::Made> SolveJob::FindBuilt(const std::string& ref) {
  TRY_ASSIGN(Made made, FindMade(ref));
  if (made.left) return Invalid("the reference {} is what a failed step has left, and no result", ref);
  return made;
}

// The order is that of refs.platforms, where the result has it: an index lists its images so.
Result<std::vector<SolveJob::Wanted>> SolveJob::WantedOf(const gateway::Result& result) {
  const ResultMetadata metadata(result.metadata().begin(), result.metadata().end());
  std::vector<std::pair<std::string, std::string>> refs;  // platform, ref
  std::map<std::string, std::string> by_platform;
  for (const auto& [platform, ref] : result.refs().refs()) by_platform[platform] = ref.id();
  for (const auto& [platform, ref] : result.refs_deprecated().refs()) by_platform[platform] = ref;
  const std::string single = result.has_ref() ? result.ref().id() : result.ref_deprecated();
  if (!single.empty()) refs.emplace_back("", single);
  if (auto order = result.metadata().find("refs.platforms"); order != result.metadata().end()) {
    TRY_ASSIGN(Json list, Json::Parse(order->second));
    for (const Json& entry : list.GetArray("Platforms")) {
      auto node = by_platform.extract(entry.GetString("ID"));
      if (node) refs.emplace_back(node.key(), node.mapped());
    }
  }
  for (const auto& [platform, ref] : by_platform) refs.emplace_back(platform, ref);
  std::vector<Wanted> wanted;
  for (const auto& [platform, ref] : refs) {
    if (ref.empty()) continue;
    TRY_ASSIGN(Made made, FindBuilt(ref));
    auto config = result.metadata().find("containerimage.config" + (platform.empty() ? "" : "/" + platform));
    WantedResult part{
        .platform = made.platform, .id = platform, .config = config == result.metadata().end() ? "" : config->second};
    part.epoch = EpochOf(metadata, platform);
    Wanted one{.ref = ref, .made = std::move(made), .result = std::move(part)};
    auto attested = result.attestations().find(platform);
    // The attestations of a result without platforms are under the default platform's name, or none.
    if (attested == result.attestations().end() && refs.size() == 1 && !result.attestations().empty()) {
      attested = result.attestations().begin();
    }
    if (attested != result.attestations().end()) one.attestations = attested->second;
    wanted.push_back(std::move(one));
  }
  if (wanted.empty()) return wanted;
  TRY_ASSIGN(wanted.front().result.annotations, AnnotationsOf(metadata));
  if (auto name = metadata.find("image.name"); name != metadata.end()) wanted.front().result.image_name = name->second;
  return wanted;
}

std::optional<Failure> SolveJob::CheckMetadata(const gateway::Result& result) {
  auto platforms = PlatformsOf({result.metadata().begin(), result.metadata().end()});
  if (!platforms) return Failure{platforms.error()};
  auto requested = request_.frontend_attrs().find("platform");
  control::VertexWarning warning;
  warning.set_short_(PlatformWarning(requested == request_.frontend_attrs().end() ? "" : requested->second,
                                     result.has_refs() || result.has_refs_deprecated(), *platforms));
  warning.set_vertex(Digest::Of("platforms of " + ref()).ToString());
  if (!warning.short_().empty()) feed_.Warn(std::move(warning));
  return std::nullopt;
}

std::optional<Failure> SolveJob::Deliver(gateway::Result result, control::SolveResponse& response) {
  bool is_answer = false;
  for (const auto& exporter : request_.exporters()) {
    for (const auto& [key, value] : exporter.attrs()) {
      if (IsResultMetadata(key)) result.mutable_metadata()->insert({key, value});
    }
  }
  for (const auto& [key, value] : result.metadata()) {
    is_answer = is_answer || key.starts_with("result.");
    if (key.starts_with("result.") || key.starts_with("frontend.") || key == "version") {
      (*response.mutable_exporter_response())[key] = value;
    }
  }
  const bool is_output = request_.exporters_size() > 0 || !request_.exporter_deprecated().empty();
  if (is_output && !is_answer && result.ref().id().empty() && !result.has_refs() && result.ref_deprecated().empty() &&
      !result.has_refs_deprecated()) {
    // Nothing, as an output: an empty file system.
    if (auto failure = SolveDefinition({}, {}, false, result)) return failure;
  }
  if (auto failure = FillEmptyRefs(result)) return failure;
  auto wanted = WantedOf(result);
  if (!wanted) return Failure{wanted.error()};
  if (wanted->empty()) return std::nullopt;  // an answer, or a probe of what this daemon can do
  if (auto failure = CheckMetadata(result)) return failure;
  if (Status found = AddClientsOutputs(result, *wanted); !found) return Failure{found.error()};
  Json metadata = Json::EmptyObject();
  auto failure = RunAndExport(*wanted, metadata);
  if (failure) return failure;
  PutAnswer(metadata, response);
  if (!request_.enable_session_exporter()) return std::nullopt;
  const auto& answer = response.exporter_response();
  Status told = opened_->client->FinalizeExport({answer.begin(), answer.end()}, stop_.get_token());
  return told ? std::nullopt : std::optional(Failure{told.error()});
}

// Not while something is evaluated: the client may look into the result before it says what it wants.
Status SolveJob::AddClientsOutputs(const gateway::Result& result, const std::vector<Wanted>& wanted) {
  if (!request_.enable_session_exporter()) return Ok();
  TRY_ASSIGN(Opened * opened, Open());
  std::vector<std::string> refs;
  for (const Wanted& one : wanted) refs.push_back(one.ref);
  TRY_ASSIGN(auto named, opened->client->FindExporters({result.metadata().begin(), result.metadata().end()}, refs,
                                                       stop_.get_token()));
  TRY_ASSIGN(auto outputs, ParseExporters(request_, named));
  wanted.front().made.build->AddOutputs(outputs);
  return Ok();
}

std::vector<const LlbBuild*> SolveJob::LlbBuilds() {
  std::vector<const LlbBuild*> builds;
  std::lock_guard lock(mutex_);
  for (const auto& [ref, made] : made_) {
    if (made.llb != nullptr) builds.push_back(made.llb);
  }
  return builds;
}

// What the client's front end attests lies in results of its own.
std::optional<Failure> SolveJob::AttachAttestations(const std::vector<Wanted>& wanted, Opened& opened,
                                                    std::vector<ResultPart>& parts) {
  for (size_t i = 0; i < wanted.size(); ++i) {
    for (const gateway::Attestation& attestation : wanted[i].attestations.attestation()) {
      auto made = FindBuilt(attestation.ref().id());
      if (!made) return Failure{made.error()};
      if (auto failure = made->build->Run(true, nullptr)) return failure;
      auto read = ReadAttestations(attestation, made->build->RootfsOf(made->platform), opened.workspace);
      if (!read) return Failure{read.error()};
      auto& all = parts[i].wanted.attestations;
      all.insert(all.end(), std::make_move_iterator(read->begin()), std::make_move_iterator(read->end()));
    }
  }
  return std::nullopt;
}

// Of definitions, where an SBOM is asked for and their front end has made none.
std::optional<Failure> SolveJob::AddScans(const std::vector<Wanted>& wanted) {
  if (std::ranges::any_of(wanted, [](const Wanted& one) { return HasSbom(one.attestations); })) return std::nullopt;
  for (const Wanted& one : wanted) {
    Status added = one.made.llb != nullptr ? one.made.llb->AddScan(one.result) : Ok();
    if (!added) return Failure{added.error()};
  }
  return std::nullopt;
}

std::optional<Failure> SolveJob::RunAndExportOnce(const std::vector<Wanted>& wanted, Opened& opened, Json& metadata) {
  job::BuildHistory* history = opened.history ? &*opened.history : nullptr;
  const bool want_data =
      request_.exporters_size() > 0 || !request_.exporter_deprecated().empty() || request_.enable_session_exporter();
  ClientBuild& build = *wanted.front().made.build;
  std::set<ClientBuild*> ran;
  std::optional<Failure> failure = AddScans(wanted);
  for (const Wanted& one : wanted) {
    if (failure || !ran.insert(one.made.build.get()).second) continue;
    failure = one.made.build->Run(want_data, one.made.build.get() == &build ? history : nullptr);
  }
  // A build that was refused has not gone through its steps.
  if (history != nullptr && build.outcome().steps.size() == build.graph().steps.size()) {
    opened.end.graph = &build.graph();
    opened.end.outcome = &build.outcome();
  }
  std::vector<ResultPart> parts;
  for (const Wanted& one : wanted) parts.push_back({one.made.build.get(), one.result, one.made.llb});
  if (!failure) failure = AttachAttestations(wanted, opened, parts);
  if (!failure) failure = build.Export(parts, LlbBuilds(), metadata);
  opened.end.tiers = build.CacheUses();
  return failure;
}

// A build without it has been built none the less.
void SolveJob::TellProvenance(const std::vector<Wanted>& wanted) {
  if (request_.internal()) return;
  const std::vector<const LlbBuild*> builds = LlbBuilds();
  for (const Wanted& one : wanted) {
    auto made = one.made.build->HistoryProvenance(one.result, builds);
    if (!made) {
      LOG_WARN("provenance of build {}: {}", ref(), made.error().message);
      continue;
    }
    provenance_[one.result.id] = made->predicate.Dump({.indent = 2, .escape_html = true});
  }
}

std::optional<Failure> SolveJob::RunAndExport(const std::vector<Wanted>& wanted, Json& metadata) {
  auto opened = Open();
  if (!opened) return Failure{opened.error()};
  Opened& open = **opened;
  std::lock_guard lock(running_);
  // A store that turns out to be damaged is mended, and the build tried again; what a client got already
  // cannot be taken back.
  auto outputs = ParseExporters(request_);
  if (!outputs) return Failure{outputs.error()};
  const bool repeatable =
      !request_.enable_session_exporter() && std::ranges::all_of(*outputs, [](const exporter::Output& output) {
        return output.type == exporter::OutputType::kImage || output.type == exporter::OutputType::kCacheOnly;
      });
  auto failure = RunAndExportOnce(wanted, open, metadata);
  for (int mends = 0; failure && repeatable && mends < job::kMaxMends; ++mends) {
    if (!job::MendAfter(failure->error, open.workspace, *open.board, stop_.get_token())) break;
    failure = RunAndExportOnce(wanted, open, metadata);
  }
  if (!failure) {
    const job::ExportedBuild& exported = wanted.front().made.build->exported();
    open.end.image = exported.image_id;
    open.end.images = exported.images;
    images_ = exported.descriptors;
    TellProvenance(wanted);
  }
  return failure;
}

}  // namespace varve::daemon
