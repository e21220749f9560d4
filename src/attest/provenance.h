// SLSA provenance of a build: what it was asked for, what it was made from, and, with mode=max, each of
// its steps (reference exporters.md §9.2; SLSA provenance v1 and v0.2). Pure.
//
// No value of a secret is in here: the graph knows ids alone (invariant I6). Build arguments and labels are
// in mode=max only; who puts a secret into one finds it in the image as well.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "attest/request.h"
#include "attest/statement.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "graph/graph.h"
#include "oci/descriptor.h"

namespace varve::attest {

// What a source turned out to be: "sha256:…" of a download, "sha1:…" or "sha256:…" of a commit.
using SourcePins = std::map<graph::StepIndex, std::string>;

struct BuildFacts {
  const graph::Graph& graph;
  std::optional<graph::Ref> root;       // of the platform's result
  SourcePins pins = {};
  // What a front end was told, by BuildKit's names: "target", "build-arg:K", "label:K", "no-cache", "context"
  // (a URL, or absent for a directory), "filename", "vcs:source", ….
  std::map<std::string, std::string> args = {};
  std::optional<std::pair<std::string, std::string>> context_digest = {};  // "sha1", hex: of args["context"]
  std::string invocation_id;
  Timestamp started;
  Timestamp finished;
  // mode=max:
  std::string dockerfile_name = {};
  std::string dockerfile = {};
  std::function<Digest(graph::StepIndex)> digest_of = {};  // names the step elsewhere: its key; empty: nothing
};

Result<Attestation> MakeProvenance(const ProvenanceRequest& request, const BuildFacts& facts);

// Adds the layers that the result became, which are known when it is packed; mode=max.
void AddLayers(const std::vector<oci::Descriptor>& layers, Attestation* provenance);

// A password in a URL is nobody's business: "https://xxxxx:xxxxx@host/", as BuildKit writes it.
std::string WithoutCredentials(const std::string& url);

// The steps that `root` needs, inputs before users, in the JSON that BuildKit's Ops have
// (solver/pb/json.go), and the number of each; for mode=max.
struct BuildConfig {
  Json definition;                                // [{"id": "step0", "op", "inputs"}]
  std::map<graph::StepIndex, size_t> numbers;
};
BuildConfig MakeBuildConfig(const graph::Graph& graph, const std::optional<graph::Ref>& root);

}  // namespace varve::attest
