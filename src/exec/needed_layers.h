// Of an input that is not on this machine, the layers that a file action needs.
//
// A stack is looked through from its topmost layer down, and a layer is brought when it is that one's turn: what
// lies below the layers that hold what is asked for is not fetched, nor unpacked. Names, types and contents are
// known from the input's tree; layers are needed for the bytes of files, and for the times of directories.
// A layer that a file action added is passed over where that action cannot have written there; times that an
// earlier run of the step has left in its record need no layer at all.
//
// When a layer cannot be had, or not without those below it, missing() says so, and the step is to be run again
// with whole inputs. One thread.
#pragma once

#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "exec/job.h"
#include "tree/selection.h"

namespace varve::exec {

class NeededLayers {
 public:
  // All must outlive it. `input` is not `here`.
  NeededLayers(const Job& job, const graph::Graph& graph, const engine::RunInput& input, engine::StepSink& sink,
               std::stop_token stop)
      : job_(job), graph_(graph), input_(input), sink_(sink), stop_(std::move(stop)),
        brought_(input.rootfs.layers.size()) {}

  // Brings a layer, unless it can have nothing at `path`: false.
  Result<bool> Bring(size_t layer, const RelPath& path);

  // Brings the layers that hold what the selectors let through, and `files`, and returns them, lowest first. A
  // mount of these shows all of it as a mount of the whole stack does.
  Result<std::vector<DiffId>> HoldersOf(const std::vector<tree::Selector>& selectors,
                                        const std::vector<RelPath>& files);

  // Of a directory that the stack shows, where an earlier run of the step has found it out: no layer is needed.
  std::optional<Timestamp> KnownTime(const RelPath& directory) const;

  bool missing() const { return missing_; }

 private:
  // What is to be found in the layers, and for files, what they are to contain.
  using Wanted = std::map<RelPath, Digest>;

  Result<Wanted> WantedBy(const std::vector<tree::Selector>& selectors, const std::vector<RelPath>& files);
  bool MayHave(size_t layer, const RelPath& path);
  Status Bring(size_t layer);
  Result<bool> TakeFrom(const DiffId& layer, Wanted& wanted);

  const Job& job_;
  const graph::Graph& graph_;
  const engine::RunInput& input_;
  engine::StepSink& sink_;
  const std::stop_token stop_;
  std::vector<bool> brought_;
  // Of a layer all paths that the file action which added it writes at or below; nothing: anywhere.
  std::map<size_t, std::optional<std::vector<RelPath>>> written_;
  bool missing_ = false;
};

}  // namespace varve::exec
