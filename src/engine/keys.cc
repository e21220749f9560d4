#include "engine/keys.h"

#include "graph/reads.h"

namespace varve::engine {

namespace {

// Empty: not known yet.
std::optional<Json> Lineage(const InputFact& fact) {
  if (fact.key) return Json().Set("step", fact.key->ToString()).Set("output", fact.output);
  if (fact.chain) return Json().Set("image", fact.chain->ToString());
  if (fact.tree_root) return Json().Set("tree", fact.tree_root->ToString());
  return {};
}

Json SelectorsJson(const std::vector<tree::Selector>& selectors) {
  Json json = Json::EmptyArray();
  for (const tree::Selector& selector : selectors) json.Append(selector.ToJson());
  return json;
}

}  // namespace

Result<std::optional<KeyedStep>> ComputeKey(const graph::Step& step, const std::vector<InputFact>& inputs,
                                            tree::TreeStore& trees, const std::string& salt) {
  CHECK(inputs.size() == step.inputs.size());
  KeyedStep keyed;
  Json lineage = Json::EmptyArray(), reads = Json::EmptyArray();
  for (const graph::InputUse& use : graph::InputUses(step)) {
    const InputFact& fact = inputs[static_cast<size_t>(use.input)];
    Json entry = Json().Set("input", use.input);
    if (use.lineage) {
      std::optional<Json> from = Lineage(fact);
      if (!from) return std::optional<KeyedStep>();
      if (!fact.key && fact.chain) keyed.images.push_back({fact.name, *fact.chain});
      lineage.Append(entry.Set("from", *from));
      continue;
    }
    if (use.selectors.empty()) continue;
    entry.Set("select", SelectorsJson(use.selectors));
    if (fact.chain) {
      reads.Append(entry.Set("image", fact.chain->ToString()));
      keyed.images.push_back({fact.name, *fact.chain});
      continue;
    }
    if (!fact.tree_root) return std::optional<KeyedStep>();
    TRY_ASSIGN(Digest selection, tree::SelectionDigest(trees, *fact.tree_root, use.selectors));
    reads.Append(entry.Set("content", selection.ToString()));
    keyed.inputs.push_back({fact.name, *fact.tree_root, selection});
  }
  Json op = graph::CanonicalOp(step);
  keyed.op_digest = Digest::Of(op.DumpCanonical());
  keyed.preimage = Json()
                       .Set("schema", kKeySchema)
                       .Set("salt", salt)
                       .Set("platform", step.platform.ToString())
                       .Set("op", std::move(op))
                       .Set("lineage", std::move(lineage))
                       .Set("reads", std::move(reads))
                       .DumpCanonical();
  keyed.key = StepKey(Digest::Of(keyed.preimage));
  return std::optional<KeyedStep>(std::move(keyed));
}

}  // namespace varve::engine
