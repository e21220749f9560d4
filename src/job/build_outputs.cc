#include "job/build_outputs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "base/background_writer.h"
#include "base/fd.h"
#include "base/strings.h"
#include "export/archive_output.h"
#include "export/files_output.h"
#include "job/image_tool.h"
#include "sys/direct_writer.h"
#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/process.h"
#include "sys/tempdir.h"

namespace varve::job {

namespace {

using exporter::Output;
using exporter::OutputType;

Status CheckNames(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    auto reference = oci::ParseReference(name);
    if (!reference) return Error(std::move(reference).error()).With("invalid tag");
    if (reference->digest) return Invalid("invalid tag \"{}\": a digest cannot be given", name);
  }
  return Ok();
}

Result<std::vector<std::string>> Normalised(const std::vector<std::string>& names) {
  TRY(CheckNames(names));
  std::vector<std::string> out;
  for (const std::string& name : names) {
    out.push_back(oci::ParseReference(name)->WithDefaultTag().String());
  }
  return out;
}

OnProgress ProgressTo(engine::StepSink& sink) {
  return [&sink](const std::string& id, uint64_t current, uint64_t total, bool done) {
    sink.Progress(id, current, total, done);
  };
}

// "exporting to image", … (reference exporters.md §1).
std::string VertexName(const Output& output) {
  switch (output.type) {
    case OutputType::kImage:
      return "exporting to image";
    case OutputType::kOci:
      return "exporting to oci image format";
    case OutputType::kDocker:
      return "exporting to docker image format";
    case OutputType::kLocal:
      return "exporting to client directory";
    case OutputType::kTar:
      return "exporting to client tarball";
    case OutputType::kCacheOnly:
      break;
  }
  return "exporting";
}

// Two outputs of one build with the same name and platform differ in how their layers are compressed.
history::Image ShownImage(const exporter::Image& image, const oci::Platform& platform,
                          const std::vector<std::string>& names) {
  history::Image shown{.platform = platform.ToString(),
                       .digest = image.manifest_digest.ToString(),
                       .compression = "none",
                       .size = image.manifest.config.size,
                       .layers = static_cast<uint32_t>(image.manifest.layers.size())};
  std::vector<std::string> familiar;
  for (const std::string& name : names) familiar.push_back(oci::ParseReference(name)->Familiar());
  shown.name = Join(familiar, ",");
  for (const oci::Descriptor& layer : image.manifest.layers) {
    shown.size += layer.size;
    const char* form = layer.media_type.ends_with("gzip")   ? "gzip"
                       : layer.media_type.ends_with("zstd") ? "zstd"
                                                            : "none";
    // A base image's layers stay as they came, in varve's store beside ones that nobody compressed.
    bool first = &layer == &image.manifest.layers.front();
    shown.compression = first || shown.compression == form ? form : "mixed";
  }
  return shown;
}

Error CannotWrite(const std::string& path, int error_number) {
  return ErrnoError(error_number, "cannot write " + path);
}

// A file that can be made, written or replaced.
Status CheckDestination(const std::string& path) {
  if (path.empty() || path == "-") return Ok();
  struct stat st;
  if (stat(path.c_str(), &st) == 0) {
    if (S_ISDIR(st.st_mode)) return CannotWrite(path, EISDIR);
    if (!S_ISREG(st.st_mode)) return access(path.c_str(), W_OK) == 0 ? Ok() : Status(CannotWrite(path, errno));
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) == 0) return Ok();
  Error error = CannotWrite(path, errno);
  if (errno == ENOENT) error.hint = fmt::format("make its folder first: mkdir -p {}", folder);
  return error;
}

// Standard output, a device or pipe, or a file that appears whole or not at all.
Status WriteTo(const std::string& dest, const std::function<Status(Writer&)>& write) {
  if (dest.empty() || dest == "-") {
    FdWriter out(STDOUT_FILENO);
    return write(out);
  }
  struct stat st;
  if (stat(dest.c_str(), &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
    TRY_ASSIGN(Fd device, OpenFile(dest, O_WRONLY));
    FdWriter out(device.get());
    return write(out);
  }
  std::string temporary = fmt::format("{}.varve-{}", dest, getpid());
  auto fd = OpenFile(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (!fd) return CannotWrite(dest, errno);
  sys::DirectWriter out(fd->get());
  BackgroundWriter behind(out);
  Status status = write(behind);
  if (status) status = behind.Finish();
  if (status) status = out.Finish();
  if (status && rename(temporary.c_str(), dest.c_str()) != 0) {
    status = ErrnoError(errno, "rename to " + dest);
  }
  if (!status) unlink(temporary.c_str());
  return status;
}

// Streams an archive into `docker load` or `podman load`.
Status LoadInto(const std::vector<std::string>& command, const std::function<Status(Writer&)>& write,
                engine::StepSink& sink, std::stop_token stop) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoError(errno, "pipe");
  Fd read_end(fds[0]), write_end(fds[1]);
  sys::SpawnSpec spec{.argv = command, .stdin_fd = read_end.get()};
  Status written = Ok();
  std::jthread feeder([&] {
    FdWriter out(write_end.get());
    written = write(out);
    write_end.Reset();
  });
  std::string output;
  auto status = sys::RunProcess(
      spec, [&](sys::Stream, std::string_view text) { output += text; }, stop);
  read_end.Reset();
  feeder.join();
  if (!status) return Error(std::move(status).error());
  if (!status->ok()) {
    Error error = Invalid("{} failed: {}", Join(command, " "), TrimSpace(output));
    if (sys::InUserNamespace()) {
      error.hint =
          "a rootless varve cannot reach podman's storage: write -o type=docker,dest=image.tar, "
          "then podman load -i image.tar";
    }
    return error;
  }
  sink.Log(1, output);
  return written;
}

Result<std::vector<std::string>> FindLoader(std::stop_token stop) {
  auto tool = FindImageTool(stop);
  if (tool) return std::vector<std::string>{std::move(*tool), "load"};
  if (tool.error().code != Code::kNotFound) return Error(std::move(tool).error());
  Error error = NotFound("--load found neither a docker engine that answers nor podman");
  error.hint = "write an archive instead: -o type=docker,dest=image.tar";
  return error;
}

class Exporting {
 public:
  Exporting(const exporter::BuildResult& built, const exporter::ExportStores& stores, Pusher& pusher,
            const sys::LazyTempDir& scratch, std::stop_token stop, OutputReceiver* receiver)
      : built_(built), stores_(stores), pusher_(pusher), scratch_(scratch), stop_(std::move(stop)),
        receiver_(receiver) {}

  // `position` in the list of outputs.
  Status Run(const Output& output, size_t position, engine::StepSink& sink) {
    position_ = position;
    switch (output.type) {
      case OutputType::kImage:
        return ToImage(output, sink);
      case OutputType::kOci:
      case OutputType::kDocker:
        return ToArchive(output, sink);
      case OutputType::kLocal:
      case OutputType::kTar:
        return ToFiles(output, sink);
      case OutputType::kCacheOnly:
        break;
    }
    return Ok();
  }

  ExportedBuild result;

 private:
  void Note(const exporter::ImageSet& set, const oci::Descriptor& descriptor, const std::vector<std::string>& names) {
    result.image_id = set.id().ToString();
    if (!set.index) result.metadata.Set("containerimage.config.digest", result.image_id);
    result.metadata.Set("containerimage.descriptor", oci::ToJson(descriptor));
    result.metadata.Set("containerimage.digest", descriptor.digest.ToString());
    result.metadata.SetIf(!names.empty(), "image.name", Join(names, ","));
    for (size_t i = 0; i < set.images.size(); ++i) {
      result.images.push_back(ShownImage(set.images[i], built_.platforms[i].platform, names));
    }
  }

  Status ToFiles(const Output& output, engine::StepSink& sink) {
    bool split = output.platform_split.value_or(built_.multi_platform);
    std::vector<exporter::FilesPart> parts;
    for (const exporter::PlatformInput& of : built_.platforms) {
      std::string directory = split ? exporter::PlatformDirectory(of.platform) : "";
      exporter::FilesPart part{of.input.rootfs, of.platform, directory};
      TRY(AddStatements(of, output, !split && built_.platforms.size() > 1, part));
      parts.push_back(std::move(part));
      if (built_.multi_platform) sink.Progress("copying files " + of.platform.ToString(), 0, 0, true);
    }
    TRY_ASSIGN(const std::string scratch, scratch_.Path());
    exporter::FilesOptions options{
        .epoch = output.source_date_epoch, .scratch = scratch, .delete_extra = output.delete_extra};
    if (output.type == OutputType::kLocal && receiver_ != nullptr) {
      TRY_ASSIGN(auto files, sys::TempDir::Create(scratch, "output-"));
      TRY(exporter::CopyFiles(stores_.layers, parts, options, files.path(), stop_));
      return receiver_->TakeFiles(position_, files.path(), sink, stop_);
    }
    if (output.type == OutputType::kLocal) {
      return exporter::CopyFiles(stores_.layers, parts, options, output.dest, stop_);
    }
    auto write = [&](Writer& out) { return exporter::WriteFilesTar(stores_.layers, parts, options, out, stop_); };
    if (receiver_ != nullptr) return receiver_->TakeStream(position_, Json::EmptyObject(), write, stop_);
    return WriteTo(output.dest, write);
  }

  // A statement about every file of the result, for each attestation. "sbom.spdx.json" of one of several
  // platforms in one directory is "sbom.spdx.linux_arm64.json".
  Status AddStatements(const exporter::PlatformInput& of, const Output& output, bool shared,
                       exporter::FilesPart& part) {
    auto kept = exporter::KeptAttestations(of.attestations, output);
    if (kept.empty()) return Ok();
    TRY_ASSIGN(auto subjects, exporter::SubjectsOf(stores_.local, of.input.rootfs.tree_root));
    for (const attest::Attestation& attestation : kept) {
      std::string name = output.attestation_prefix + attestation.file;
      size_t dot = std::min(name.rfind('.'), name.size());
      if (shared) name.insert(dot, "." + exporter::PlatformDirectory(of.platform));
      part.more.emplace_back(name, attest::StatementText(attestation, subjects, true));
    }
    return Ok();
  }

  Status ToImage(const Output& output, engine::StepSink& sink) {
    TRY_ASSIGN(auto names, Normalised(output.names));
    if (output.push) {
      TRY_ASSIGN(auto set, Make(output, sink));
      for (const std::string& name : names) {
        TRY_ASSIGN(auto reference, oci::ParseReference(name));
        auto pushed = pusher_.Push(set, reference, output.insecure_registry, output.push_by_digest, stores_.blobs,
                                   stores_.local, sink, stop_);
        if (!pushed) return Error(std::move(pushed).error()).With("failed to push " + reference.Familiar());
      }
      TRY(Store(output, set, names, sink));
      Note(set, set.descriptor, names);
      result.descriptors.emplace(position_, set.descriptor);
      return Ok();
    }
    TRY_ASSIGN(auto set, exporter::MakeStoredImages(built_, output, stores_, stop_));
    TellOf(set, sink);
    TRY(Store(output, set, names, sink));
    Note(set, set.descriptor, names);
    result.descriptors.emplace(position_, set.descriptor);
    return Ok();
  }

  Result<exporter::ImageSet> Make(const Output& output, engine::StepSink& sink) {
    sink.Progress("exporting layers", 0, 0, false);
    TRY_ASSIGN(auto set, exporter::MakeImages(built_, output, stores_, ProgressTo(sink), stop_));
    sink.Progress("exporting layers", 0, 0, true);
    TellOf(set, sink);
    return set;
  }

  // What was made, in BuildKit's words (reference exporters.md §1): people find digests by them.
  static void TellOf(const exporter::ImageSet& set, engine::StepSink& sink) {
    auto tell = [&](const char* what, const Digest& digest) {
      sink.Progress(fmt::format("exporting {} {}", what, digest.ToString()), 0, 0, true);
    };
    for (const exporter::Image& image : set.images) {
      tell("manifest", image.manifest_digest);
      tell("config", image.config_digest);
    }
    for (const exporter::Image& image : set.attestations) tell("attestation manifest", image.manifest_digest);
    if (set.index) tell("manifest list", set.descriptor.digest);
  }

  Status Store(const Output& output, const exporter::ImageSet& set, const std::vector<std::string>& names,
               engine::StepSink& sink) {
    if (!output.store || output.push_by_digest) return Ok();
    bool whole = std::ranges::all_of(set.images, [](const exporter::Image& image) { return image.absent.empty(); });
    if (!whole) return Ok();  // a name here is for what is here
    std::vector<std::string> stored = names;
    if (!output.dangling_name_prefix.empty()) {
      stored.push_back(output.dangling_name_prefix + "@" + set.descriptor.digest.ToString());
    }
    if (output.name_canonical) {
      for (const std::string& name : names) {
        stored.push_back(oci::ParseReference(name)->Name() + "@" + set.descriptor.digest.ToString());
      }
    }
    for (const std::string& name : stored) {
      TRY(stores_.local.PutImage({name, set.descriptor.digest, stores_.clock.Now()}));
      sink.Progress("naming to " + name, 0, 0, true);
    }
    return Ok();
  }

  Status ToArchive(const Output& output, engine::StepSink& sink) {
    bool docker = output.type == OutputType::kDocker;
    TRY_ASSIGN(auto names, Normalised(output.names));
    TRY_ASSIGN(auto set, Make(output, sink));
    auto write = [&](Writer& out) { return exporter::WriteArchive(set, names, docker, stores_.blobs, out); };
    if (receiver_ != nullptr && !output.tar) {
      TRY_ASSIGN(auto store, receiver_->TakesBlobs(position_, stop_));
      sink.Progress("sending blobs", 0, 0, false);
      TRY(exporter::SendBlobs(set, stores_.blobs, *store, stop_));
      sink.Progress("sending blobs", 0, 0, true);
    } else if (receiver_ != nullptr) {
      TRY(SendArchive(set, names, write, sink));
    } else if (output.load) {
      TRY_ASSIGN(auto loader, FindLoader(stop_));
      TRY(LoadInto(loader, write, sink, stop_));
    } else if (!output.tar) {
      TRY(exporter::WriteLayoutDirectory(set, names, docker, stores_.blobs, output.dest));
    } else {
      TRY(WriteTo(output.dest, write));
    }
    Note(set, exporter::ListedDescriptor(set), names);
    return Ok();
  }

  Status SendArchive(const exporter::ImageSet& set, const std::vector<std::string>& names,
                     const std::function<Status(Writer&)>& write, engine::StepSink& sink) {
    Json metadata;
    metadata.SetIf(!set.index, "containerimage.config.digest", set.id().ToString());
    metadata.Set("containerimage.digest", set.descriptor.digest.ToString());
    metadata.SetIf(!names.empty(), "image.name", Join(names, ","));
    sink.Progress("sending tarball", 0, 0, false);
    Status sent = receiver_->TakeStream(position_, metadata, write, stop_);
    sink.Progress("sending tarball", 0, 0, true);
    return sent;
  }

  const exporter::BuildResult& built_;
  const exporter::ExportStores& stores_;
  Pusher& pusher_;
  const sys::LazyTempDir& scratch_;
  std::stop_token stop_;
  OutputReceiver* const receiver_;
  size_t position_ = 0;
};

}  // namespace

Status CheckDestinations(const std::vector<Output>& outputs, const std::vector<std::string>& files) {
  for (const Output& output : outputs) {
    const bool archive = output.type == OutputType::kTar ||
                         ((output.type == OutputType::kOci || output.type == OutputType::kDocker) && output.tar);
    if (archive) TRY(CheckDestination(output.dest));
  }
  for (const std::string& file : files) TRY(CheckDestination(file));
  return Ok();
}

Result<std::vector<Output>> EffectiveOutputs(const BuildFlags& flags) {
  TRY(CheckNames(flags.tags));
  std::vector<Output> outputs = flags.outputs;
  bool has_image = std::ranges::any_of(outputs, [](const Output& o) { return o.type == OutputType::kImage; });
  bool has_load = std::ranges::any_of(outputs, [](const Output& o) { return o.load; });
  if (flags.push) {
    for (Output& output : outputs) {
      if (output.type == OutputType::kImage) output.push = true;
    }
    if (!has_image) outputs.push_back({.type = OutputType::kImage, .push = true});
  }
  if (flags.load && !has_load) outputs.push_back({.type = OutputType::kDocker, .load = true});
  if (outputs.empty() && !flags.output_disabled && (!flags.tags.empty() || !flags.iidfile.empty() || flags.quiet)) {
    outputs.push_back({.type = OutputType::kImage});
  }
  for (Output& output : outputs) {
    if (output.names.empty()) output.names = flags.tags;
    if (flags.reproducible) output.timestamps = exporter::Timestamps::kSet;
    TRY(CheckNames(output.names));
    if (output.push && output.names.empty()) {
      Error error = Invalid("pushing needs a name for the image");
      error.hint = "pass -t NAME, or -o type=registry,name=NAME";
      return error;
    }
    output.annotations.insert(output.annotations.end(), flags.annotations.begin(), flags.annotations.end());
  }
  return outputs;
}

Status CheckOutputs(const std::vector<Output>& outputs, const std::vector<oci::Platform>& platforms,
                    bool multi_platform, const attest::Request& attest) {
  std::vector<attest::Attestation> expected;
  if (attest.provenance) expected.push_back({.inline_only = attest.provenance->inline_only});
  if (attest.sbom) expected.push_back({});
  for (const Output& output : outputs) {
    bool image =
        output.type == OutputType::kImage || output.type == OutputType::kOci || output.type == OutputType::kDocker;
    bool attested = !exporter::KeptAttestations(expected, output).empty();
    if (image) TRY(exporter::CheckOutput(output, platforms, multi_platform, attested));
  }
  return Ok();
}

bool NeedLayers(const std::vector<Output>& outputs, const attest::Request& attest) {
  return std::ranges::any_of(outputs, [&](const Output& output) {
    if (output.type == OutputType::kCacheOnly) return false;
    bool pushed = output.type == OutputType::kImage && output.push;
    return !pushed || output.timestamps != exporter::Timestamps::kKeep || attest.sbom;
  });
}

Result<ExportedBuild> ExportBuild(const std::vector<Output>& outputs, const exporter::BuildResult& built,
                                  const exporter::ExportStores& stores, Pusher& pusher, const sys::LazyTempDir& scratch,
                                  progress::Board& board, std::stop_token stop, OutputReceiver* receiver) {
  Exporting exporting(built, stores, pusher, scratch, stop, receiver);
  exporting.result.metadata = Json::EmptyObject();
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Output& output = outputs[i];
    if (output.type == OutputType::kCacheOnly) continue;
    Status done =
        Shown(board, VertexName(output), [&](engine::StepSink& sink) { return exporting.Run(output, i, sink); });
    TRY(std::move(done));
  }
  return std::move(exporting.result);
}

}  // namespace varve::job
