#include "cli/doctor_history.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "cache/root.h"
#include "history/store.h"
#include "tree/layer_index.h"
#include "tree/read_set.h"

namespace varve::cli {

namespace {

constexpr size_t kBuilds = 50;  // that are read, newest first

// A build's name for a step is "[build 2/5] RUN make".
std::string TextOf(const history::Step& step) {
  size_t text = step.name.find("] ");
  return text == step.name.npos ? "" : step.name.substr(text + 2);
}

const history::Step* FindStep(const history::Build& build, const std::string& text) {
  auto found = std::ranges::find_if(build.steps, [&](const history::Step& step) {
    return !step.internal && !step.source && !step.key.empty() && TextOf(step) == text;
  });
  return found == build.steps.end() ? nullptr : &*found;
}

// The files and links of a layer.
Result<std::set<RelPath>> FilesOf(snapshot::LayerStore& layers, const DiffId& layer) {
  TRY_ASSIGN(std::string encoded, layers.EncodedIndex(layer));
  TRY_ASSIGN(auto reader, tree::LayerIndexReader::Open(encoded));
  std::set<RelPath> files;
  tree::LayerEntry entry;
  while (true) {
    TRY_ASSIGN(bool more, reader.Next(&entry));
    if (!more) return files;
    if (!entry.whiteout && !entry.node.IsDirectory()) files.insert(entry.path);
  }
}

bool HasBelow(const std::set<RelPath>& files, const RelPath& directory) {
  return std::ranges::any_of(files, [&](const RelPath& file) { return file.IsWithin(directory); });
}

Result<std::optional<doctor::CopyUse>> CompareRecords(job::UpkeepStores& stores, const history::Step& copy,
                                                      const history::Step& run) {
  std::optional<doctor::CopyUse> none;
  TRY_ASSIGN(Digest copy_key, Digest::Parse(copy.key));
  TRY_ASSIGN(Digest run_key, Digest::Parse(run.key));
  TRY_ASSIGN(auto copied, stores.local.store->contents().Read(StepKey(copy_key)));
  TRY_ASSIGN(auto ran, stores.local.store->contents().Read(StepKey(run_key)));
  if (!copied || !ran || !ran->trace) return none;
  if (copied->outputs.empty() || copied->outputs[0].layers.empty() || ran->outputs.empty()) return none;
  const DiffId& layer = copied->outputs[0].layers.back();
  if (std::ranges::find(ran->outputs[0].layers, layer) == ran->outputs[0].layers.end()) return none;
  TRY_ASSIGN(auto files, FilesOf(*stores.layers, layer));
  std::set<std::string> looked_at, listed;
  for (const std::string& encoded : ran->trace->reads) {
    TRY_ASSIGN(tree::ReadSet set, tree::DecodeReadSet(encoded));
    for (const tree::Entry& entry : set) {
      if (entry.facets & tree::kAbsent) continue;
      const RelPath path(entry.path);
      if (entry.facets & tree::kSubtree) {
        for (const RelPath& file : files) {
          if (file.IsWithin(path)) looked_at.insert(file.Absolute());
        }
      } else if (files.contains(path)) {
        looked_at.insert(path.Absolute());
      } else if ((entry.facets & tree::kList) != 0 && HasBelow(files, path)) {
        listed.insert(path.Absolute());
      }
    }
  }
  return std::optional(doctor::CopyUse{.copied = files.size(),
                                       .looked_at = {looked_at.begin(), looked_at.end()},
                                       .listed = {listed.begin(), listed.end()}});
}

}  // namespace

std::map<std::string, double> PastSeconds(const job::GlobalFlags& global) {
  std::map<std::string, double> out;
  history::History history(cache::RootDirectory(global.root), SystemClock());
  auto builds = history.List();
  if (!builds) return out;
  size_t read = 0;
  for (const history::Summary& summary : *builds) {
    if (summary.ratios.ran == 0) continue;
    if (++read > kBuilds) break;
    auto build = history.Read(summary.id);
    if (!build) continue;
    for (const history::Step& step : build->steps) {
      std::string text = TextOf(step);
      if (step.fate != history::Fate::kRan || text.empty()) continue;
      out.emplace(std::move(text), std::chrono::duration<double>(step.wall).count());
    }
  }
  return out;
}

const std::vector<history::Build>& PastBuilds::BuildsOf(const std::string& context) {
  auto [known, is_new] = builds_.try_emplace(context);
  if (!is_new) return known->second;
  history::History history(cache::RootDirectory(global_.root), SystemClock());
  auto all = history.List();
  if (!all) return known->second;
  for (const history::Summary& summary : *all) {
    if (summary.project != context) continue;
    auto build = history.Read(summary.id);
    if (build) known->second.push_back(std::move(*build));
    if (known->second.size() == kBuilds) break;
  }
  return known->second;
}

std::optional<doctor::CopyUse> PastBuilds::UseOfCopy(const std::string& folder, const std::string& copy,
                                                     const std::string& run) {
  for (const history::Build& build : BuildsOf(folder.empty() ? project_ : project_ + "/" + folder)) {
    const history::Step* copies = FindStep(build, copy);
    const history::Step* runs = FindStep(build, run);
    if (copies == nullptr || runs == nullptr) continue;
    if (auto use = Compare(*copies, *runs)) return use;
  }
  return std::nullopt;
}

std::optional<doctor::CopyUse> PastBuilds::Compare(const history::Step& copy, const history::Step& run) {
  if (!std::exchange(opened_, true)) {
    auto stores = job::UpkeepStores::Open(global_);
    if (stores) stores_ = std::move(*stores);
    else LOG_INFO("what earlier builds looked at is not known: {}", stores.error().message);
  }
  if (!stores_) return std::nullopt;
  auto use = CompareRecords(*stores_, copy, run);
  if (use) return std::move(*use);
  LOG_INFO("what \"{}\" looked at is not known: {}", run.name, use.error().message);
  return std::nullopt;
}

}  // namespace varve::cli
