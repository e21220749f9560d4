#include "cli/doctor_proof.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "base/fd.h"
#include "base/strings.h"
#include "cli/image_difference.h"
#include "job/build_display.h"
#include "job/build_job.h"
#include "sys/namespace.h"
#include "sys/overlay.h"

namespace varve::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxDifferences = 10'000;

// The project with other contents of some files, as long as this lives.
class PatchedView {
 public:
  static Result<PatchedView> Open(const std::string& project, const doctor::Patch& patch) {
    PatchedView view;
    TRY_ASSIGN(view.files_, sys::TempDir::Create(fs::temp_directory_path().string(), "varve-doctor-"));
    // The folders that lead to a changed file are those of the upper layer: they look like the
    // project's.
    TRY(LookLike(project, view.files_.path()));
    for (const doctor::ChangedFile& file : patch.files) {
      fs::path at;
      for (const fs::path& part : fs::path(file.path).parent_path()) {
        at /= part;
        std::error_code error;
        fs::create_directory(view.files_.path() / at, error);
        if (error) return Internal("cannot make a folder for {}: {}", file.path, error.message());
        TRY(LookLike((project / at).string(), (view.files_.path() / at).string()));
      }
      std::string copy = (fs::path(view.files_.path()) / file.path).string();
      TRY(WriteFileAtomically(copy, file.after));
      if (!file.is_new) TRY(LookLike((fs::path(project) / file.path).string(), copy));
    }
    sys::OverlaySpec spec{.lowers = {view.files_.path(), project}, .user_xattrs = sys::InUserNamespace()};
    TRY_ASSIGN(view.mount_, sys::MountOverlay(spec, project));
    return view;
  }

 private:
  static Status LookLike(const std::string& original, const std::string& copy) {
    struct stat st;
    if (stat(original.c_str(), &st) != 0) return ErrnoError(errno, fmt::format("stat {}", original));
    if (lchown(copy.c_str(), st.st_uid, st.st_gid) != 0) return ErrnoError(errno, fmt::format("chown {}", copy));
    if (chmod(copy.c_str(), st.st_mode & 07777) != 0) return ErrnoError(errno, fmt::format("chmod {}", copy));
    return Ok();
  }

  sys::TempDir files_;
  sys::Mount mount_;  // gone before the files that it shows
};

std::string RandomName() {
  std::random_device random;
  return fmt::format("doctor-{:08x}{:08x}", random(), random());
}

Error Unbuildable(const engine::Outcome& outcome, const graph::Graph& graph) {
  Error error = *outcome.error;
  if (outcome.failed_step) error.message = graph.steps[*outcome.failed_step].name + ": " + error.message;
  return error;
}

}  // namespace

struct ImageProver::Built {
  std::unique_ptr<job::BuildFlags> flags;
  std::unique_ptr<job::BuildJob> job;
  engine::Outcome outcome;
  std::vector<std::string> configs;  // serialised
};

job::BuildFlags ImageProver::FlagsOf(const doctor::TouchedImage& image) const {
  job::BuildFlags flags;
  flags.context = (fs::path(project_) / image.context).lexically_normal().string();
  flags.file = (fs::path(project_) / image.dockerfile).string();
  flags.target = image.target;
  flags.build_args = image.args;
  flags.build_args.insert(flags.build_args.end(), flags_.build_args.begin(), flags_.build_args.end());
  flags.secrets = flags_.secrets;
  flags.reproducible = true;
  return flags;
}

Result<ImageProver::Built> ImageProver::Build(const doctor::TouchedImage& image, const std::string& how, bool dry_run,
                                              bool isolated) {
  Built built{.flags = std::make_unique<job::BuildFlags>(FlagsOf(image)), .job = {}, .outcome = {}, .configs = {}};
  uint32_t heading = board_.Add(fmt::format("[doctor] {}, {}", image.name, how));
  board_.Start(heading);
  built.job = std::make_unique<job::BuildJob>(*built.flags, workspace_, board_, stop_);
  auto read = built.job->Read();
  if (!read) return read.error().error;
  auto lowered = built.job->Lower();
  if (!lowered) return lowered.error().error;
  job::BoardObserver observer(board_, built.job->graph());
  std::string name = isolated ? RandomName() : "";
  TRY_ASSIGN(built.outcome, built.job->Run({.dry_run = dry_run, .isolated = name}, observer));
  if (isolated) built.job->Forget(built.outcome, name);
  if (built.outcome.error) return Unbuildable(built.outcome, built.job->graph());
  if (!dry_run) {
    TRY_ASSIGN(auto configs, built.job->Configs(built.outcome, {.timestamps = exporter::Timestamps::kSet}));
    for (const oci::ImageConfig& config : configs) built.configs.push_back(config.Serialise());
  }
  board_.Finish(heading, {});
  return built;
}

Result<bool> ImageProver::IsSameBuild(const doctor::TouchedImage& image, const doctor::Patch& patch) {
  // Another Dockerfile is another graph, and what an ignore file lets in is not in all keys yet.
  if (image.definition) return false;
  TRY_ASSIGN(Built before, Build(image, "as it is: what it reads", true, false));
  TRY_ASSIGN(PatchedView view, PatchedView::Open(project_, patch));
  TRY_ASSIGN(Built after, Build(image, "with the fixes: what it reads", true, false));
  // Keys that are not known yet are those of steps that read the results of others in this graph.
  return std::ranges::equal(before.outcome.steps, after.outcome.steps, {}, &engine::StepOutcome::key,
                            &engine::StepOutcome::key);
}

Result<std::map<std::string, std::string>> ImageProver::Differences(const Built& a, const Built& b) {
  std::map<std::string, std::string> out;
  for (size_t i = 0; i < std::min(a.configs.size(), b.configs.size()); ++i) {
    for (const std::string& member : ConfigDifferences(a.configs[i], b.configs[i])) {
      if (member != "history" && member != "created") out["configuration"] += " " + member;
    }
  }
  for (size_t i = 0; i < std::min(a.outcome.wanted.size(), b.outcome.wanted.size()); ++i) {
    const cache::Rootfs &x = a.outcome.wanted[i], &y = b.outcome.wanted[i];
    if (x == y) continue;
    if (x.tree_root.empty() || y.tree_root.empty()) return Internal("the files of the image are not known");
    TRY_ASSIGN(auto found, tree::Compare(*workspace_.local.store, x.tree_root, y.tree_root, {}, kMaxDifferences));
    for (const tree::Difference& one : found) {
      std::string detail = one.detail.empty() ? "" : " " + one.detail;
      out[one.path.str()] += fmt::format("{}{}", tree::DifferenceName(one.kind), detail);
    }
  }
  return out;
}

Result<Verdict> ImageProver::Compare(const doctor::TouchedImage& image, const doctor::Patch& patch) {
  TRY_ASSIGN(bool same, IsSameBuild(image, patch));
  if (same) return Verdict{.kind = Verdict::Kind::kSameBuild};
  TRY_ASSIGN(Built before, Build(image, "as it is", false, false));
  Built after;
  {
    TRY_ASSIGN(PatchedView view, PatchedView::Open(project_, patch));
    auto built = Build(image, "with the fixes", false, false);
    if (!built && built.error().code == Code::kCancelled) return built.error();
    if (!built) {
      return Verdict{.kind = Verdict::Kind::kDiffers,
                     .differences = {"it does not build any more: " + built.error().message}};
    }
    after = std::move(*built);
  }
  TRY_ASSIGN(auto differences, Differences(before, after));
  Verdict verdict{.kind = Verdict::Kind::kSame};
  if (differences.empty()) return verdict;
  // A step that moved ran again. What two runs of the unchanged project disagree on says nothing of
  // the fixes; so a third build has to tell, with nothing of the caches.
  TRY_ASSIGN(Built fresh, Build(image, "as it is, once more without caches", false, true));
  TRY_ASSIGN(auto noise, Differences(before, fresh));
  for (const auto& [where, how] : differences) {
    if (!noise.contains(where)) verdict.kind = Verdict::Kind::kDiffers;
  }
  for (const auto& [where, how] : differences) {
    if (verdict.kind == Verdict::Kind::kDiffers && noise.contains(where)) continue;
    verdict.differences.push_back(where == "configuration" ? "configuration:" + how : where + ": " + how);
  }
  return verdict;
}

Result<Verdict> ImageProver::Prove(const doctor::TouchedImage& image, const doctor::Patch& patch) {
  if (!image.unbuildable.empty()) return Verdict{.why = image.unbuildable};
  auto verdict = Compare(image, patch);
  if (verdict || verdict.error().code == Code::kCancelled) return verdict;
  return Verdict{.why = verdict.error().message};
}

std::string VerdictText(const doctor::TouchedImage& image, const Verdict& verdict) {
  constexpr size_t kShown = 8;
  std::string text = "  " + image.name + ": ";
  switch (verdict.kind) {
    case Verdict::Kind::kSameBuild:
      text += "stays the same: no step reads what changes\n";
      return text;
    case Verdict::Kind::kUnknown:
      return text + "not proven: " + verdict.why + "\n";
    case Verdict::Kind::kSame:
      text += "stays the same: built before and after, files and configuration are equal\n";
      if (verdict.differences.empty()) return text;
      text += "    but for what differs between two builds of the unchanged project as well:\n";
      break;
    case Verdict::Kind::kDiffers:
      text += "does not stay the same:\n";
      break;
  }
  size_t shown = std::min(kShown, verdict.differences.size());
  for (size_t i = 0; i < shown; ++i) text += "      " + verdict.differences[i] + "\n";
  if (shown < verdict.differences.size())
    text += fmt::format("      … and {} more\n", verdict.differences.size() - shown);
  return text;
}

}  // namespace varve::cli
