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

#include "attest/invocation.h"
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

// What a front end had built on the way to the result, to read files of it.
struct UsedGraph {
  const graph::Graph& graph;
  std::optional<graph::Ref> root;
  const SourcePins& pins;
};

// A file that the result was made from, as far as steps point into it.
struct SourceFile {
  std::string name, text;
  std::string language = "Dockerfile";
  Json read_by = {};  // the steps that brought it, BuildConfig::definition; null: nobody knows
};

struct BuildFacts {
  const graph::Graph& graph;
  std::optional<graph::Ref> root;  // of the platform's result
  SourcePins pins = {};
  // Of the front end; an empty name: the client sent the graph itself, for reasons unknown here.
  Invocation asked = {.frontend = "dockerfile.v0"};
  std::optional<Invocation> client = {};  // of the client, where its own front end called the one above
  std::string invocation_id;
  Timestamp started;
  Timestamp finished;
  std::string frontend_version = {};     // of the one that is part of the builder
  std::vector<std::string> locals = {};  // the client's directories that the front end read, besides the graph's
  std::vector<UsedGraph> besides = {};
  Json environment = {};  // an object: what the builder's operator has every build say
  // mode=max:
  std::vector<SourceFile> sources = {};
  std::function<Digest(graph::StepIndex)> digest_of = {};  // names the step elsewhere: its key; empty: nothing
  std::function<std::vector<DiffId>(const graph::Ref&)> layers_of = {};  // that an output consists of
};

Result<Attestation> MakeProvenance(const ProvenanceRequest& request, const BuildFacts& facts);

// Adds the layers that the result and the steps below it became, which are known when it is packed; mode=max.
void AddLayers(const std::vector<oci::Descriptor>& layers, Attestation* provenance);

// The steps that `root` needs, inputs before users, in the JSON that BuildKit's Ops have
// (solver/pb/json.go), and the number of each; for mode=max.
struct BuildConfig {
  Json definition;  // [{"id": "step0", "op", "inputs"}]
  std::map<graph::StepIndex, size_t> numbers;
};
BuildConfig MakeBuildConfig(const graph::Graph& graph, const std::optional<graph::Ref>& root);

}  // namespace varve::attest
