// Images of --cache-from, laid beside a build: which steps they answer, by their inline records
// (tier/inline_records.h) or by their history and their layers (previous/match.h).
//
// Layers are fetched only to be compared with what a step would write. An image that cannot be used is
// one line of progress or one warning, and the steps run.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "dockerfile/lower_platforms.h"
#include "engine/interfaces.h"
#include "job/workspace.h"
#include "previous/match.h"
#include "progress/board.h"
#include "tier/chain.h"
#include "tier/image_tier.h"

namespace varve::job {

class PreviousImages final : public engine::ResultMatcher {
 public:
  struct Image {
    size_t member = 0;  // of the chain
    std::string name;   // "app:latest"
    std::shared_ptr<tier::ImageTier> tier;
    previous::Trust trust = previous::Trust::kHistory;
  };
  // What is built; of several Dockerfiles that are one graph, each, with references into that graph.
  struct Build {
    const dockerfile::LoweredPlatforms& lowered;
    std::set<std::string> images = {};  // names of those that it is laid beside; empty: all
    // Which platforms are built does not show: records of an image for any platform may answer its steps.
    bool of_any_platform = false;
  };
  // All must outlive the object. `dry_run`: nothing is fetched, and what would have to be is not answered.
  PreviousImages(std::vector<Image> images, tier::Chain& chain, Workspace& workspace, progress::Board& board,
                 std::vector<Build> builds, bool dry_run)
      : images_(std::move(images)), chain_(chain), workspace_(workspace), board_(board), builds_(std::move(builds)),
        dry_run_(dry_run) {}

  // Before the first look-up: which base images were resolved.
  using BaseImages = std::function<std::vector<source::ResolvedImage>()>;
  void Begin(BaseImages base_images) { base_images_ = std::move(base_images); }

  std::vector<std::optional<Matched>> Match(const graph::Graph& graph, const std::vector<engine::LookedUp>& steps,
                                            std::stop_token stop) override;

 private:
  class Contents;
  using Answers = std::map<graph::StepIndex, Matched>;

  struct Round {
    const graph::Graph& graph;
    std::map<graph::StepIndex, const engine::LookedUp*> open;  // that have no answer yet
    std::stop_token stop;
  };
  std::optional<tier::PreviousImage> Open(const Image& image, const oci::Platform& platform);
  void AskImage(const Image& image, const dockerfile::PlatformResult& platform, Round& round, Answers& answers);
  // Its records alone, also of images for other platforms than the one that was asked.
  void AskAllPlatforms(const Image& image, const oci::Platform& asked, Round& round, Answers& answers);
  void AskRecords(const Image& image, const tier::PreviousImage& previous, Round& round, Answers& answers);
  void AskHistory(const Image& image, const dockerfile::PlatformResult& platform, const tier::PreviousImage& previous,
                  Round& round, Answers& answers);
  Status Compare(const Image& image, const tier::PreviousImage& previous, const previous::Planned& planned,
                 Round& round, engine::StepSink& sink, Answers& answers);
  Status AskSeen(const Image& image, const tier::PreviousImage& previous, Round& round, Answers& answers);
  void Answer(const Image& image, graph::StepIndex step, std::vector<cache::Rootfs> outputs, Timestamp created,
              Round& round, Answers& answers);

  const std::vector<Image> images_;
  tier::Chain& chain_;
  Workspace& workspace_;
  progress::Board& board_;
  const std::vector<Build> builds_;
  const bool dry_run_;
  BaseImages base_images_;

  std::mutex mutex_;  // guards what follows; one look-up is matched at a time
  std::map<std::pair<graph::StepIndex, uint32_t>, Digest> trees_;  // of inputs, by where they come from
  std::set<std::string> told_;                                     // warnings
  std::set<std::string> seen_;                                     // images whose trees are here
  std::set<std::string> failed_;                                   // images that are not asked again
  // Images and stages, by a step of the stage, that have nothing in common.
  std::set<std::pair<std::string, graph::StepIndex>> unlike_;
};

}  // namespace varve::job
