#include "daemon/dockerfile_build.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <thread>

#include "base/fd.h"
#include "base/rel_path.h"
#include "base/strings.h"
#include "daemon/capabilities.h"
#include "daemon/llb_build.h"
#include "dockerfile/frontend.h"
#include "export/files_output.h"
#include "graph/source_url.h"
#include "job/build_report.h"
#include "source/stdin_context.h"
#include "sys/open.h"
#include "tree/pattern.h"

namespace varve::daemon {

namespace {

constexpr uint64_t kMaxDockerfile = 16 << 20;

// Of what the client sent: a link in it must not lead out of it.
Result<std::optional<std::string>> ReadSent(const std::string& directory, const std::string& name) {
  TRY_ASSIGN(Fd root, sys::OpenDir(directory));
  // Not to wait for the writer of a pipe.
  auto fd = sys::OpenInRoot(root.get(), RelPath(name), O_RDONLY | O_NONBLOCK);
  if (!fd && fd.error().code == Code::kNotFound) return std::optional<std::string>();
  if (!fd) return Error(std::move(fd).error());
  struct stat st;
  if (fstat(fd->get(), &st) != 0) return ErrnoError(errno, "stat " + name);
  if (!S_ISREG(st.st_mode)) return Invalid("failed to read dockerfile: {} is not a regular file", name);
  FdReader in(fd->get());
  TRY_ASSIGN(std::string text, ReadAll(in, kMaxDockerfile));
  return std::optional(std::move(text));
}

std::string LowerName(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string directory = slash == path.npos ? "" : path.substr(0, slash + 1);
  return directory + ToLower(path.substr(directory.size()));
}

}  // namespace

Json PlatformList(const dockerfile::LoweredPlatforms& platforms) {
  Json list = Json::EmptyArray();
  for (const dockerfile::PlatformResult& result : platforms.results) {
    list.Append(Json().Set("ID", result.platform.ToString()).Set("Platform", oci::ToJson(result.platform)));
  }
  return Json().Set("Platforms", std::move(list));
}

bool IsDockerfileFrontend(const std::string& frontend, const Attributes& attributes) {
  if (frontend == "dockerfile.v0") return true;
  if (frontend != "gateway.v0") return false;
  auto source = attributes.find("source");
  if (source == attributes.end()) return false;
  return dockerfile::IsDockersFrontend(source->second);
}

DockerfileBuild::DockerfileBuild(FrontendRequest request, llb::Inputs inputs, std::vector<tier::Spec> cache_from,
                                 BuildTargets targets, BuildPlace place, BuildOrigin origin)
    : request_(std::move(request)), targets_(std::move(targets)), place_(std::move(place)), origin_(std::move(origin)),
      inputs_(std::move(inputs)) {
  request_.flags.cache_from = std::move(cache_from);
  request_.flags.cache_to = targets_.cache_to;
  request_.flags.outputs = targets_.outputs;
  request_.flags.trace.shadow_percent = place_.shadow_percent;
  granted_ = request_.flags.allow;
  request_.flags.allow.push_back("device");  // Prepare judges them
  if (!request_.context.empty()) request_.flags.context = request_.context;
  for (const exporter::Output& output : targets_.outputs) {
    request_.flags.tags.insert(request_.flags.tags.end(), output.names.begin(), output.names.end());
  }
  std::string project = place_.client.project() + "\n" +
                        (request_.context.empty() ? request_.filename : graph::WithoutPassword(request_.context));
  auto rename = [this](const graph::LocalSource& source, WantedFiles& wanted) {
    if (!source.session.empty()) return;  // another build's, which has said it all
    if (source.name == "context") wanted.mount = request_.context_mount;
    wanted.shared_key = SharedKeyOf(wanted.mount);
    wanted.session = SessionOf(wanted.mount);
  };
  files_ = std::make_unique<ClientFiles>(
      place_.client,
      ClientFiles::Options{
          .project = std::move(project), .scratch = place_.workspace.scratch, .steps = place_.steps, .rename = rename},
      place_.stop);
  files_->hooks().inputs = inputs_.Lowered();
  files_->hooks().policy = place_.policy.get();
  job_ = std::make_unique<job::BuildJob>(request_.flags, place_.workspace, place_.board, place_.stop);
  job_->ServeClient(files_->hooks());
}

DockerfileBuild::~DockerfileBuild() = default;

std::string DockerfileBuild::SharedKeyOf(const std::string& mount) const {
  auto key = request_.shared_keys.find(mount);
  return key == request_.shared_keys.end() ? "" : key->second;
}

std::string DockerfileBuild::SessionOf(const std::string& mount) const {
  auto session = request_.sessions.find(mount);
  return session == request_.sessions.end() ? "" : session->second;
}

Status DockerfileBuild::ReadDockerfile(job::BuildContext& context) {
  const std::string& file = request_.filename;
  const std::string lower = LowerName(file);
  uint32_t vertex = 0;
  auto read =
      job::Shown(place_.board, "[internal] load build definition from " + file, [&](job::VertexSink& sink) -> Status {
        vertex = sink.vertex();
        WantedFiles wanted{.mount = request_.dockerfile_mount,
                           .session = SessionOf(request_.dockerfile_mount),
                           .shared_key = SharedKeyOf(request_.dockerfile_mount),
                           .include = {},
                           .exclude = {},
                           .follow = {file, file + ".dockerignore"}};
        // Of the usual name other spellings are found too, as on a file system that knows no case.
        if (lower != file) wanted.follow.push_back(lower);
        TRY_ASSIGN(auto files, place_.client.Sync(wanted, ProgressTo(sink), place_.stop));
        read_mounts_.push_back(wanted.mount);
        context.dockerfile_name = file;
        TRY_ASSIGN(auto text, ReadSent(files->directory(), file));
        if (!text && lower != file) {
          TRY_ASSIGN(text, ReadSent(files->directory(), lower));
        }
        if (!text) {
          return NotFound("failed to read dockerfile: open {}: no such file or directory", file);
        }
        context.dockerfile = std::move(*text);
        TRY_ASSIGN(own_ignore_, ReadSent(files->directory(), file + ".dockerignore"));
        return Ok();
      });
  place_.feed.SetSource(file, context.dockerfile, vertex);
  return read;
}

// A build that copies nothing of a directory works without it; one that does says later what is missing.
Result<std::unique_ptr<SyncedFiles>> DockerfileBuild::SyncIfOffered(const WantedFiles& wanted, engine::StepSink& sink) {
  auto files = place_.client.Sync(wanted, ProgressTo(sink), place_.stop);
  if (!files && files.error().code == Code::kNotFound) return std::unique_ptr<SyncedFiles>();
  return files;
}

Result<std::vector<std::string>> DockerfileBuild::IgnorePatternsOf(const std::string& mount, const std::string& file,
                                                                   std::string& found) {
  WantedFiles wanted{.mount = mount,
                     .session = SessionOf(mount),
                     .shared_key = SharedKeyOf(mount) + "\nignore file",
                     .include = {},
                     .exclude = {},
                     .follow = {file}};
  return job::Shown(place_.board, "[" + mount + "] load " + file,
                    [&](engine::StepSink& sink) -> Result<std::vector<std::string>> {
                      TRY_ASSIGN(auto files, SyncIfOffered(wanted, sink));
                      if (files == nullptr) return std::vector<std::string>();
                      TRY_ASSIGN(auto text, ReadSent(files->directory(), file));
                      if (!text) return std::vector<std::string>();
                      found = file;
                      return tree::ReadIgnoreFile(*text);
                    });
}

Status DockerfileBuild::ReadIgnoreFiles(job::BuildContext& context) {
  const std::string file = ".dockerignore";
  if (request_.context.empty() && !HasInputContext()) {
    if (own_ignore_) {
      TRY_ASSIGN(context.ignore, tree::ReadIgnoreFile(*own_ignore_));
      context.ignore_file = request_.filename + ".dockerignore";
    } else {
      const std::string mount = request_.context_mount == "context" ? "internal" : request_.context_mount;
      WantedFiles wanted{.mount = request_.context_mount,
                         .session = SessionOf(request_.context_mount),
                         .shared_key = SharedKeyOf(request_.context_mount) + "\nignore file",
                         .include = {},
                         .exclude = {},
                         .follow = {file}};
      Status read = job::Shown(place_.board, "[" + mount + "] load " + file, [&](engine::StepSink& sink) -> Status {
        TRY_ASSIGN(auto files, SyncIfOffered(wanted, sink));
        if (files == nullptr) return Ok();
        read_mounts_.push_back(wanted.mount);
        TRY_ASSIGN(auto text, ReadSent(files->directory(), file));
        if (!text) return Ok();
        TRY_ASSIGN(context.ignore, tree::ReadIgnoreFile(*text));
        context.ignore_file = file;
        return Ok();
      });
      TRY(std::move(read));
    }
  }
  for (const auto& [name, mount] : request_.local_contexts) {
    std::string found;
    TRY_ASSIGN(context.named_ignore[mount], IgnorePatternsOf(mount, file, found));
  }
  return Ok();
}

// A context from a URL, or one that was piped into the client.
Status DockerfileBuild::OpenRemoteContext(job::BuildContext& context) {
  if (!request_.context.starts_with(exec::kUploadHost)) {
    // Only the main context, and no Dockerfile: names of files are the client's, not this machine's.
    job::BuildFlags flags;
    flags.context = request_.context;
    flags.build_args = request_.flags.build_args;
    flags.dockerfile_text = "";
    TRY_ASSIGN(auto opened, job::OpenContext(flags, place_.workspace.scratch, place_.workspace.root,
                                             place_.workspace.registries->http(), place_.policy.get(), place_.stop,
                                             &files_->hooks()));
    context.directory = std::move(opened.directory);
    context.origin = std::move(opened.origin);
    context.origin_pin = std::move(opened.origin_pin);
    context.temporary = std::move(opened.temporary);
    context.warnings = std::move(opened.warnings);
    if (request_.dockerfile_given) return Ok();
    context.dockerfile_name = request_.filename;
    context.dockerfile = std::move(opened.dockerfile);
    // A URL may be that of a Dockerfile alone.
    if (!context.dockerfile.empty()) return Ok();
    TRY_ASSIGN(context.dockerfile, DockerfileIn(context.directory));
    return Ok();
  }
  return job::Shown(place_.board, "[internal] load remote build context", [&](engine::StepSink&) -> Status {
    TRY_ASSIGN(const std::string scratch, place_.workspace.scratch.Path());
    TRY_ASSIGN(auto work, sys::TempDir::Create(scratch, "upload-"));
    const std::string path = work.path() + "/upload";
    TRY_ASSIGN(Fd fd, OpenFile(path, O_RDWR | O_CREAT | O_EXCL, 0600));
    FdWriter out(fd.get());
    TRY(place_.client.Upload(request_.context, out, place_.stop));
    if (lseek(fd.get(), 0, SEEK_SET) != 0) return ErrnoError(errno, "seek");
    FdReader in(fd.get());
    TRY_ASSIGN(auto read, source::ReadStdinContext(in, scratch, {}, place_.stop));
    context.directory = read.directory.path();
    context.temporary.push_back(std::move(read.directory));
    context.warnings = std::move(read.warnings);
    if (request_.dockerfile_given) return Ok();
    context.dockerfile_name = request_.filename;
    if (read.dockerfile) {
      context.dockerfile = std::move(*read.dockerfile);
      return Ok();
    }
    TRY_ASSIGN(context.dockerfile, DockerfileIn(context.directory));
    return Ok();
  });
}

// What the client sent may have links in it: none of them leads out of it.
Status DockerfileBuild::EnterSubdirectory(job::BuildContext& context) const {
  const RelPath subdir(request_.context_subdir);
  if (subdir.IsRoot()) return Ok();
  TRY_ASSIGN(Fd root, sys::OpenDir(context.directory));
  if (!sys::OpenDirNoFollow(root.get(), subdir)) return NotFound("the context has no directory {}", subdir.Absolute());
  context.directory += "/" + subdir.str();
  return Ok();
}

Result<std::string> DockerfileBuild::DockerfileIn(const std::string& directory) const {
  TRY_ASSIGN(auto text, ReadSent(directory, request_.filename));
  if (!text) {
    return NotFound("failed to read dockerfile: open {}: no such file or directory", request_.filename);
  }
  return std::move(*text);
}

Result<std::string> DockerfileBuild::FilesOfInput(const std::string& name, job::BuildContext& context) {
  job::BuildFlags flags;
  flags.allow = request_.flags.allow;
  LlbBuild build(inputs_.by_name.at(name).build, {}, std::move(flags), {}, place_);
  if (auto failure = build.Run(true, nullptr)) return std::move(failure->error);
  TRY_ASSIGN(const std::string scratch, place_.workspace.scratch.Path());
  TRY_ASSIGN(auto copy, sys::TempDir::Create(scratch, "input-"));
  TRY(exporter::CopyFiles(*place_.workspace.layers, {{.rootfs = build.RootfsOf(0)}}, {.scratch = scratch}, copy.path(),
                          place_.stop));
  const std::string directory = copy.path();
  context.temporary.push_back(std::move(copy));
  return directory;
}

Result<job::BuildContext> DockerfileBuild::OpenContext() {
  job::BuildContext context;
  if (inputs_.by_name.contains(request_.dockerfile_mount) && !request_.dockerfile_given) {
    TRY_ASSIGN(std::string directory, FilesOfInput(request_.dockerfile_mount, context));
    context.dockerfile_name = request_.filename;
    TRY_ASSIGN(context.dockerfile, DockerfileIn(directory));
  } else if (request_.context.empty() || request_.dockerfile_given) {
    TRY(ReadDockerfile(context));
  }
  if (HasInputContext()) {
    TRY_ASSIGN(context.directory, FilesOfInput("context", context));
  } else if (!request_.context.empty()) {
    TRY(OpenRemoteContext(context));
  }
  if (!context.directory.empty()) TRY(EnterSubdirectory(context));
  TRY(ReadIgnoreFiles(context));
  return context;
}

std::optional<Failure> DockerfileBuild::Prepare() {
  auto context = OpenContext();
  if (!context) return Failure{context.error()};
  for (const std::string& warning : context->warnings) place_.board.Warn({.text = warning});
  if (!request_.attributes.contains("cmdline")) {  // of a front end that was asked for by the file
    auto wanted = dockerfile::FrontendOf(context->dockerfile,
                                         {request_.flags.build_args.begin(), request_.flags.build_args.end()});
    if (wanted && !dockerfile::IsDockersFrontend(wanted->frontend)) {
      other_frontend_ = {*wanted,
                         wanted->span.start_line > 0 ? std::optional(PlaceOf(wanted->span, *context)) : std::nullopt};
      return std::nullopt;
    }
  }
  auto read = job_->Read(std::move(*context));
  if (!read) {
    if (request_.subrequest.empty()) job::ShowWarnings(job_->warnings(), place_.board, job_->context());
    return At(read.error());
  }
  if (request_.subrequest == "frontend.targets") return std::nullopt;
  auto lowered = job_->Lower();
  // A question about checks is answered with them; they are no warnings then.
  if (request_.subrequest.empty()) job::ShowWarnings(job_->warnings(), place_.board, job_->context());
  if (!lowered) return At(lowered.error());
  if (Status granted = GrantDevices(job_->platforms().graph, granted_, place_.devices); !granted)
    return Failure{granted.error()};
  if (Status good = job::BuildJob::CheckFlags(request_.flags, targets_.outputs); !good) {
    return Failure{good.error()};
  }
  return std::nullopt;
}

Result<job::CallResult> DockerfileBuild::Answer(std::optional<Failure>& failure) {
  std::string name = request_.subrequest;
  if (name.starts_with("frontend.")) name = name.substr(9);
  request_.flags.call.name = name;
  if (name == "subrequests.describe") return job::DescribeResult();
  if (name != "lint" && name != "outline" && name != "targets") {
    failure =
        Failure{.error = Invalid("unsupported request {}", request_.subrequest), .subrequest = request_.subrequest};
    return failure->error;
  }
  failure = Prepare();
  if (other_frontend_) return Invalid("the file is for the front end {}", other_frontend_->syntax.frontend);
  if (name == "lint" && !job_->context().dockerfile_name.empty()) {
    dockerfile::CheckReport report{.file_name = job_->context().dockerfile_name,
                                   .source = job_->context().dockerfile,
                                   .warnings = job_->warnings()};
    if (failure) {
      report.error =
          dockerfile::SourceError{failure->error, failure->place ? failure->place->span : dockerfile::Span{}};
    }
    failure.reset();
    return job::CheckResult(report);
  }
  if (failure) return failure->error;
  if (name == "outline") return job::OutlineResult(job_->lowered().outline, job_->context());
  return job::TargetsResult(job_->file(), job_->context());
}

pb::Definition DockerfileBuild::Definition(size_t platform, const std::string& session) const {
  return Definition(lowered().results[platform].lowered.root, session);
}

pb::Definition DockerfileBuild::Definition(const std::optional<graph::Ref>& result, const std::string& session) const {
  graph::Graph graph = job_->graph();
  for (graph::Step& step : graph.steps) {
    if (auto* layout = std::get_if<graph::OciLayoutSource>(&step.op); layout && layout->session.empty()) {
      layout->session = session;
    }
    auto* local = std::get_if<graph::LocalSource>(&step.op);
    if (local == nullptr || !local->session.empty()) continue;
    if (local->name == "context") local->name = request_.context_mount;
    local->shared_key_hint = SharedKeyOf(local->name);
    const std::string own = SessionOf(local->name);
    local->session = own.empty() ? session : own;
  }
  return llb::Encode(graph, result);
}

job::ClientFacts DockerfileBuild::Facts() const {
  const bool local = request_.context.empty() || request_.dockerfile_given;
  return {.asked = origin_.asked,
          .client = origin_.client,
          .frontend_version = kDockerfileVersion,
          .locals = read_mounts_,
          .read_by = local ? attest::MakeBuildConfig(ReadGraph(), graph::Ref{0, 0}).definition : Json(),
          .environment = place_.provenance_environment};
}

cache::Rootfs DockerfileBuild::RootfsOf(size_t platform) const {
  size_t wanted = 0;
  for (size_t i = 0; i < platform; ++i) wanted += lowered().results[i].lowered.root ? 1 : 0;
  if (!lowered().results[platform].lowered.root) return {{}, tree::EmptyTree()};
  return outcome_.wanted[wanted];
}

std::optional<Failure> DockerfileBuild::Run(bool want_data, job::BuildHistory* history) {
  // What was shown as done is not shown again.
  if (!observer_ || outcome_.error) {
    observer_ = std::make_unique<job::BoardObserver>(place_.board, job_->graph());
  }
  engine::Observer& watched =
      history != nullptr ? history->Watch(*observer_, job_->graph()) : static_cast<engine::Observer&>(*observer_);
  result_.reset();
  auto outcome = job_->Run({.want_data = want_data, .shadows_later = true}, watched);
  if (!outcome) return Failure{outcome.error()};
  outcome_ = std::move(*outcome);
  if (outcome_.error) {
    job_->ExportFinished(outcome_);
    return OfOutcome();
  }
  return std::nullopt;
}

Result<exporter::PlatformInput> DockerfileBuild::InputOf(const WantedResult& wanted,
                                                         const std::vector<const LlbBuild*>&) {
  if (!result_) {
    files_->hooks().facts = Facts();
    TRY_ASSIGN(result_, job_->AttestedResult(outcome_));
  }
  exporter::PlatformInput of = result_->platforms[wanted.platform];
  // The client's front end may have changed it.
  const bool changed =
      !wanted.config.empty() && wanted.config != lowered().results[wanted.platform].lowered.config.Serialise();
  if (changed) {
    TRY_ASSIGN(of.input.config, ConfigOf(wanted));
  }
  if (!wanted.id.empty()) {
    TRY_ASSIGN(of.platform, oci::ParsePlatform(wanted.id));
  }
  of.attestations.insert(of.attestations.begin(), wanted.attestations.begin(), wanted.attestations.end());
  return of;
}

Result<attest::Attestation> DockerfileBuild::HistoryProvenance(const WantedResult& wanted,
                                                               const std::vector<const LlbBuild*>&) {
  files_->hooks().facts = Facts();
  return job_->Provenance(HistoryRequest(request_.flags.attest), outcome_, wanted.platform, false);
}

std::optional<Failure> DockerfileBuild::Export(const std::vector<ResultPart>& parts,
                                               const std::vector<const LlbBuild*>& besides, Json& metadata) {
  auto result = InputsOf(parts, besides);
  if (!result) return Failure{result.error()};
  Status cached = Ok();
  std::optional<std::jthread> caches;
  if (!job_->ChecksReplays()) caches.emplace([&] { cached = job_->ExportCaches(outcome_); });
  auto exported = job_->Export(*result, OutputsFor(targets_.outputs, parts.front().wanted));
  job_->FinishShadows(outcome_);
  if (caches) caches->join();
  else cached = job_->ExportCaches(outcome_);
  if (!exported) return Failure{exported.error()};
  exported_ = std::move(*exported);
  metadata = exported_.metadata;
  TellCacheList(job_->ClientCacheList(), metadata);
  if (!cached) return Failure{cached.error()};
  return std::nullopt;
}

graph::Graph DockerfileBuild::ReadGraph() const {
  graph::Graph read;
  read.Add({.op = graph::LocalSource{.name = request_.dockerfile_mount, .follow_paths = {request_.filename}}});
  return read;
}

FailurePlace DockerfileBuild::PlaceOf(const dockerfile::Span& span, const job::BuildContext& context) const {
  return {.file = context.dockerfile_name,
          .text = context.dockerfile,
          .span = span,
          .origin = llb::Encode(ReadGraph(), graph::Ref{0, 0})};
}

Failure DockerfileBuild::At(const dockerfile::SourceError& error) const {
  const job::BuildContext& context = job_->context();
  Failure failure{error.error};
  if (!context.dockerfile_name.empty()) {
    failure.place = PlaceOf(error.span, context);
  }
  return failure;
}

Failure DockerfileBuild::OfOutcome() {
  Failure failure{*outcome_.error};
  if (!outcome_.failed_step) return failure;
  const graph::Step& step = job_->graph().steps[*outcome_.failed_step];
  failure.vertex = place_.feed.DigestOf(observer_->VertexOf(*outcome_.failed_step));
  if (step.location.first_line > 0) {
    failure.place = PlaceOf(
        dockerfile::Span::Lines(static_cast<int>(step.location.first_line), static_cast<int>(step.location.last_line)),
        job_->context());
  }
  if (failure.error.code == Code::kNotFound && !job_->context().ignore_file.empty() && failure.error.hint.empty()) {
    failure.error.hint = fmt::format("if the file exists, {} may exclude it", job_->context().ignore_file);
  }
  NameMissingFile(step, failure);
  if (auto op = LastOp(Definition(graph::Ref{*outcome_.failed_step, 0}, place_.session))) {
    op->kept = kept_.Take(*outcome_.failed_step);
    failure.op = std::make_shared<const FailedOp>(std::move(*op));
  }
  return failure;
}

}  // namespace varve::daemon
