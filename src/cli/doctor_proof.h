// Whether an image stays the same when files of its project change: built before and after, and
// compared by its configuration and file by file, without times and without history.
//
// The changed files are only shown to the build, by an overlay mount over the project in this
// process's own mount namespace: nothing is written to the project before everything is known, and
// a kill leaves nothing behind.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "doctor/images.h"
#include "engine/engine.h"
#include "job/build_flags.h"
#include "job/workspace.h"
#include "progress/board.h"

namespace varve::cli {

struct Verdict {
  enum class Kind {
    kSameBuild,  // no step reads what changes: the keys of all are equal
    kSame,       // built twice
    kDiffers,
    kUnknown,  // it could not be built
  };
  Kind kind = Kind::kUnknown;
  // kDiffers: "removed: root/.npm", "configuration: config.Env". kSame: what differs between two
  // builds of the unchanged project too, and proves nothing.
  std::vector<std::string> differences;
  std::string why;  // kUnknown: one line

  bool proven() const { return kind == Kind::kSameBuild || kind == Kind::kSame; }
};

struct ProofFlags {
  job::ProgressMode progress = job::ProgressMode::kAuto;
  std::vector<job::SecretFlag> secrets;
  std::vector<std::pair<std::string, std::string>> build_args;  // win over what the project gives
};

class ImageProver {
 public:
  // All must outlive it. The process is in a mount namespace of its own.
  ImageProver(std::string project, ProofFlags flags, job::Workspace& workspace, progress::Board& board,
              std::stop_token stop)
      : project_(std::move(project)), flags_(std::move(flags)), workspace_(workspace), board_(board),
        stop_(std::move(stop)) {}

  // An error is a cancelled build; everything else is the verdict's.
  Result<Verdict> Prove(const doctor::TouchedImage& image, const doctor::Patch& patch);

 private:
  struct Built;
  Result<Verdict> Compare(const doctor::TouchedImage& image, const doctor::Patch& patch);
  Result<bool> IsSameBuild(const doctor::TouchedImage& image, const doctor::Patch& patch);
  Result<Built> Build(const doctor::TouchedImage& image, const std::string& how, bool dry_run, bool isolated);
  // Path or member → how it differs.
  Result<std::map<std::string, std::string>> Differences(const Built& a, const Built& b);
  job::BuildFlags FlagsOf(const doctor::TouchedImage& image) const;

  std::string project_;
  ProofFlags flags_;
  job::Workspace& workspace_;
  progress::Board& board_;
  std::stop_token stop_;
};

// "  app/Dockerfile: stays the same: …", with what differs below it.
std::string VerdictText(const doctor::TouchedImage& image, const Verdict& verdict);

}  // namespace varve::cli
