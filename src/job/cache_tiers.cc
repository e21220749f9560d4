#include "job/cache_tiers.h"

#include <algorithm>
#include <thread>
#include <tuple>

#include "base/metric.h"
#include "base/strings.h"
#include "job/build_display.h"
#include "job/local_images.h"
#include "job/mount_offer.h"
#include "job/open_storage.h"
#include "tier/client_storage.h"
#include "tier/gha_storage.h"
#include "tier/packed_tier.h"

namespace varve::job {

namespace {

// What chunks may be taken from instead of the tier: layers that earlier runs of a step made here.
Result<tier::LocalTars> LocalTarsOf(Workspace& workspace) {
  constexpr size_t kEarlier = 8;
  tier::LocalTars tars{.earlier = nullptr, .write_tar = nullptr};
  TRY_ASSIGN(tars.scratch, workspace.scratch.Path());
  tars.earlier = [&workspace](const std::string& slot, std::stop_token) {
    std::vector<DiffId> layers;
    auto records = workspace.local.store->Earlier(slot, Digest(), kEarlier);
    if (!records) return layers;
    for (const cache::StepRecord& record : *records) {
      for (const cache::Rootfs& output : record.outputs) {
        if (output.layers.empty()) continue;
        auto here = workspace.layers->Has(output.layers.back());
        if (here && *here) layers.push_back(output.layers.back());
      }
    }
    return layers;
  };
  tars.write_tar = [&workspace](const DiffId& layer, Writer& out, std::stop_token stop) {
    return workspace.layers->WriteTar(layer, out, stop);
  };
  return tars;
}

// Whose records of the tier are used, and who signs what is added. kInvalid: a key that is none.
Status TakeKeys(const tier::Spec& spec, tier::PackedOptions& options) {
  auto with = [&](Error error, std::string_view option) {
    return std::move(error).With(fmt::format("{} of cache {}", option, spec.Name()));
  };
  if (!spec.verify_key.empty()) {
    auto text = tier::ReadKeyText(spec.verify_key);
    if (!text) return with(std::move(text).error(), "verify-key");
    auto keys = tier::VerifyKeys::Parse(*text);
    if (!keys) return with(std::move(keys).error(), "verify-key");
    options.verify = std::make_shared<tier::VerifyKeys>(std::move(*keys));
  }
  if (!spec.sign_key.empty()) {
    auto text = tier::ReadKeyText(spec.sign_key);
    if (!text) return with(std::move(text).error(), "sign-key");
    auto key = tier::SigningKey::Parse(*text);
    if (!key) return with(std::move(key).error(), "sign-key");
    options.sign = std::make_shared<tier::SigningKey>(std::move(*key));
  }
  return Ok();
}

// The options for whose sake an export leaves layers out.
std::string LimitsOf(const tier::Spec& spec) {
  std::vector<std::string> limits;
  if (spec.max_export) limits.push_back("max-export=" + FormatBytes(*spec.max_export));
  if (spec.max_time) limits.push_back("max-time=" + FormatDuration(*spec.max_time));
  if (spec.mode == tier::Mode::kAuto) limits.push_back("mode=auto");
  return Join(limits, ", ");
}

Result<std::unique_ptr<tier::Tier>> Packed(std::unique_ptr<tier::BlobStorage> storage, const tier::Spec& spec,
                                           Workspace& workspace) {
  tier::PackedOptions options;
  if (spec.kind == tier::Kind::kGha) {
    options.max_size = tier::kGhaMaxSize;
    options.evicts_by_itself = true;
  }
  if (spec.max_size) options.max_size = *spec.max_size;
  TRY_ASSIGN(options.local, LocalTarsOf(workspace));
  TRY(TakeKeys(spec, options));
  return tier::MakePackedTier(std::move(storage), std::move(options), SystemClock());
}

// What a reference names may be a cache or an image.
Result<std::shared_ptr<tier::Tier>> OpenReference(const tier::Spec& spec, Workspace& workspace) {
  TRY_ASSIGN(auto reference, oci::ParseReference(spec.place));
  registry::Client& client = workspace.registries->client(reference.domain, spec.insecure);
  TRY_ASSIGN(auto storage, OpenStorage(spec, *workspace.registries));
  TRY_ASSIGN(auto cache, Packed(std::move(storage), spec, workspace));
  // Nobody signs what an image says of itself.
  if (!spec.verify_key.empty()) return std::shared_ptr<tier::Tier>(std::move(cache));
  std::vector<std::unique_ptr<tier::ImagePlace>> on_this_machine;
  if (spec.local_images) {
    on_this_machine.push_back(MakeStorePlace(*workspace.images, spec.place));
    TRY_ASSIGN(std::string scratch, workspace.scratch.Path());
    on_this_machine.push_back(MakeToolPlace(spec.place, std::move(scratch)));
  }
  return std::shared_ptr<tier::Tier>(std::make_shared<tier::ImageTier>(
      std::move(cache), tier::MakeRegistryPlace(client, reference), std::move(on_this_machine)));
}

}  // namespace

Result<std::unique_ptr<tier::BlobStorage>> CacheTiers::OpenStorage(const tier::Spec& spec, Workspace& workspace) {
  if (!client_ || spec.kind != tier::Kind::kLocal) return job::OpenStorage(spec, *workspace.registries);
  TRY_ASSIGN(auto blobs, client_("local:" + spec.place, ""));
  auto listed = [this, blobs](const oci::Descriptor& top) { client_lists_.Lock()->push_back({blobs, top}); };
  auto note = [this, name = spec.Name()](const std::string& line) {
    client_notes_.Lock()->push_back(fmt::format("cache {} is not used: {}", name, line));
  };
  return tier::MakeClientStorage(
      {.blobs = blobs, .top = spec.digest, .note = std::move(note), .listed = std::move(listed)});
}

Result<std::shared_ptr<tier::Tier>> CacheTiers::OpenTier(const tier::Spec& spec, Workspace& workspace) {
  if (spec.kind == tier::Kind::kRegistry) return OpenReference(spec, workspace);
  auto storage = OpenStorage(spec, workspace);
  const bool of_client = client_ && spec.kind == tier::Kind::kLocal;
  if (!storage && (storage.error().code == Code::kNotFound || (of_client && spec.ignore_error))) {
    warnings_.push_back({.text = fmt::format("cache {} is not used: {}", spec.Name(), storage.error().message)});
    return std::shared_ptr<tier::Tier>();
  }
  TRY_ASSIGN(auto opened, std::move(storage));
  TRY_ASSIGN(auto tier, Packed(std::move(opened), spec, workspace));
  return std::shared_ptr<tier::Tier>(std::move(tier));
}

Result<std::unique_ptr<CacheTiers>> CacheTiers::Open(const BuildFlags& flags, Workspace& workspace, bool isolated,
                                                     std::stop_token stop, ClientStores client) {
  std::unique_ptr<CacheTiers> tiers(new CacheTiers(workspace.root, std::move(client)));
  tiers->rebuild_ = flags.rebuild_cache;
  std::vector<tier::Member> members;
  // A place that is read and written is one tier: what was loaded of it is not loaded again. With
  // other credentials, or read with another key, it is another.
  using Place = std::tuple<std::string, std::map<std::string, std::string>, std::string>;
  std::map<Place, std::shared_ptr<tier::Tier>> opened;
  auto open = [&](const tier::Spec& spec) -> Result<std::shared_ptr<tier::Tier>> {
    auto [it, added] = opened.try_emplace({spec.Name(), spec.store, spec.verify_key});
    if (added) {
      TRY_ASSIGN(it->second, tiers->OpenTier(spec, workspace));
      if (it->second != nullptr) tiers->all_.emplace_back(spec.Name(), it->second);
    }
    return it->second;
  };
  if (!isolated) {
    tiers->WarnOfSigning(flags);
    for (tier::Spec spec : flags.cache_to) {
      if (spec.kind == tier::Kind::kInline) continue;  // a part of the image, not a tier
      for (const tier::Spec& from : flags.cache_from) {
        if (from.trusted && from.Name() == spec.Name() && from.store == spec.store) {
          spec.verify_key = from.verify_key;
          spec.digest = from.digest;
        }
      }
      TRY_ASSIGN(auto tier, open(spec));
      if (tier == nullptr) continue;
      tiers->exports_.push_back({.spec = spec, .tier = std::move(tier)});
    }
    for (const tier::Spec& spec : flags.cache_from) {
      if (!spec.trusted || flags.rebuild_cache) continue;
      TRY_ASSIGN(auto tier, open(spec));
      if (tier == nullptr) continue;
      if (auto image = std::dynamic_pointer_cast<tier::ImageTier>(tier)) {
        bool history = spec.image_trust.value_or(flags.cache_from_trust) == tier::ImageTrust::kHistory;
        tiers->images_.push_back({.member = members.size(),
                                  .name = spec.place,
                                  .tier = std::move(image),
                                  .trust = history ? previous::Trust::kHistory : previous::Trust::kContent});
      }
      members.push_back({.name = spec.Name(), .tier = std::move(tier), .timeout = spec.timeout, .mounts = spec.mounts});
    }
  }
  tiers->chain_ = std::make_unique<tier::Chain>(*workspace.local.store, *workspace.blobs, SystemClock(),
                                                std::move(members), std::move(stop));
  return tiers;
}

// Whoever trusts this build's signature trusts whoever this build trusted.
void CacheTiers::WarnOfSigning(const BuildFlags& flags) {
  auto signs = std::ranges::find_if(flags.cache_to, [](const auto& to) { return !to.sign_key.empty(); });
  if (signs == flags.cache_to.end()) return;
  for (const tier::Spec& from : flags.cache_from) {
    if (!from.trusted || !from.verify_key.empty()) continue;
    warnings_.push_back({.text = fmt::format("what this build uses of cache {} it signs for {}, whoever made it",
                                             from.Name(), signs->Name()),
                         .detail = {"read only what is signed too: verify-key=FILE of that --cache-from"}});
  }
}

void CacheTiers::WarnOfFailures(progress::Board& board) {
  for (progress::Warning& warning : std::exchange(warnings_, {})) board.Warn(std::move(warning));
  for (std::string& note : std::exchange(*client_notes_.Lock(), {})) board.Warn({.text = std::move(note)});
  for (tier::Report& report : chain_->Reports()) {
    if (report.failure) {
      // One line, also where the export is not going to ask it again.
      const bool written =
          report.failure->code == Code::kUnavailable && std::ranges::any_of(exports_, [&](const Exported& to) {
            return to.spec.Name() == report.name && to.spec.ignore_error;
          });
      board.Warn({.text = fmt::format("cache {} is {}: {}", report.name,
                                      written ? "neither used nor written" : "not used", report.failure->message),
                  .detail = {report.failure->hint}});
    }
    for (const std::string& notice : report.notices) {
      board.Warn({.text = fmt::format("cache {}: a part of it is not used: {}", report.name, notice)});
    }
    std::string name = report.name;
    reports_.insert_or_assign(name, std::move(report));
  }
}

ExportAhead* CacheTiers::StartAhead(const graph::Graph& graph, const ShareFor& share_for, Workspace& workspace,
                                    std::function<std::vector<source::ResolvedImage>()> images, std::stop_token stop) {
  static const OnProgress kQuiet;  // nobody looks
  std::vector<ExportAhead::Place> places;
  for (Exported& to : exports_) {
    const tier::Spec& spec = to.spec;
    if (spec.max_export || spec.max_time || spec.mode == tier::Mode::kAuto) continue;
    ExportAhead::Place place{.tier = to.tier, .terms = OfferTerms(spec, *chain_, StoresOf(workspace), kQuiet)};
    place.terms.replace = rebuild_;
    place.failed = [chain = chain_.get(), name = spec.Name()] { return chain->Failed(name); };
    place.terms.make_blob = [this, &workspace, make = std::move(place.terms.make_blob)](
                                const DiffId& layer, std::stop_token token) -> Result<tier::Offer::Blob> {
      TRY_ASSIGN(auto before, workspace.local.store->FindLayerBlobs(layer));
      if (before.empty()) packed_ahead_.Lock()->insert(layer);
      return make(layer, std::move(token));
    };
    Share share = share_for(spec);
    // GitHub's cache may leave out what the result is not made of (tier/packed_tier.h).
    const bool result_only = spec.mode == tier::Mode::kMin || spec.kind == tier::Kind::kGha;
    place.steps = result_only ? StepsOfResult(graph, share.wanted) : std::vector<char>(graph.steps.size(), true);
    for (size_t i = 0; i < share.steps.size(); ++i) place.steps[i] = place.steps[i] && share.steps[i];
    to.lane = places.size();
    places.push_back(std::move(place));
  }
  if (places.empty()) return nullptr;
  ExportAhead::Sources sources;
  sources.layers_of = [&workspace, images = std::move(images)](const StepKey& key) {
    std::vector<DiffId> layers;
    auto record = workspace.local.store->contents().Read(key);
    if (!record || !*record) return layers;
    std::set<DiffId> elsewhere;
    for (const source::ResolvedImage& image : images()) {
      if (!image.repository.empty()) elsewhere.insert(image.diff_ids.begin(), image.diff_ids.end());
    }
    for (const cache::Rootfs& output : (*record)->outputs) {
      for (const DiffId& layer : output.layers) {
        if (!elsewhere.contains(layer)) layers.push_back(layer);
      }
    }
    return layers;
  };
  sources.is_here = [&workspace](const DiffId& layer) {
    auto here = workspace.layers->Has(layer);
    return here && *here;
  };
  ahead_ = std::make_unique<ExportAhead>(std::move(places), std::move(sources), SystemClock(), std::move(stop));
  return ahead_.get();
}

Status CacheTiers::ExportOne(Exported& to, const BuiltSteps& built, bool finished_only,
                             const exporter::ExportStores& stores, progress::Board& board, std::stop_token stop) {
  if (to.lane) to.ahead = ahead_->End(*to.lane);
  // Down is down, when it was read and when it was sent to: its time-outs are not waited for twice.
  auto read = reports_.find(to.spec.Name());
  if (read != reports_.end() && read->second.failure && read->second.failure->code == Code::kUnavailable) {
    to.failure = read->second.failure;
    to.told = true;
    return Error(*to.failure);
  }
  if (to.ahead.failure && to.ahead.failure->code == Code::kUnavailable) {
    to.failure = to.ahead.failure;
    return Error(*to.failure);
  }
  if (finished_only && to.ahead.layers.empty()) return Ok();
  Nanos began = SystemClock().Monotonic();
  auto exported = Shown(board, "exporting cache to " + to.spec.Name(), [&](VertexSink& sink) -> Status {
    OnProgress progress = [&sink](const std::string& id, uint64_t current, uint64_t total, bool done) {
      sink.Progress(id, current, total, done);
    };
    const std::set<DiffId> packed_ahead = *packed_ahead_.Lock();
    tier::Spec spec = to.spec;
    if (finished_only) spec.mode = tier::Mode::kMax;  // of a result that does not exist nothing is a part
    TRY_ASSIGN(auto offer, MakeOffer(built, spec, *chain_, stores, progress, packed_ahead));
    if (finished_only) {
      KeepOnly(offer, to.ahead.layers);
    } else {
      TRY_ASSIGN(offer.mounts, OfferMounts(built, to.spec, root_));
    }
    if (!to.ahead.layers.empty()) {
      if (uint64_t sent = to.tier->traffic().bytes_written) {
        sink.Log(2, fmt::format("{} went while steps ran\n", FormatBytes(sent)));
      }
    }
    offer.replace = rebuild_;
    return to.tier->Export(offer, progress, stop);
  });
  to.time = SystemClock().Monotonic() - began;
  if (exported) return Ok();
  Counter("tier.export_failed").Add();
  to.failure = exported.error();
  return exported;
}

void CacheTiers::ExportFinished(const BuiltFor& built_for, const exporter::ExportStores& stores, progress::Board& board,
                                std::stop_token stop) {
  {
    std::vector<std::jthread> threads;
    for (Exported& to : exports_) {
      if (!to.lane) continue;
      threads.emplace_back([&] { (void)ExportOne(to, built_for(to.spec), true, stores, board, stop); });
    }
  }
  for (const Exported& to : exports_) {
    if (!to.failure || to.told || stop.stop_requested()) continue;
    board.Warn({.text = fmt::format("cache {} was not written: {}", to.spec.Name(), to.failure->message),
                .detail = {to.failure->hint}});
  }
}

Status CacheTiers::Export(const BuiltFor& built_for, const exporter::ExportStores& stores, progress::Board& board,
                          std::stop_token stop) {
  {
    std::vector<std::jthread> threads;
    for (Exported& to : exports_) {
      threads.emplace_back([&] { (void)ExportOne(to, built_for(to.spec), false, stores, board, stop); });
    }
  }
  if (stop.stop_requested()) return Cancelled("the build was cancelled");
  TRY(AgreeOnClientList(stop));
  for (const Exported& to : exports_) {
    for (const std::string& notice : to.tier->TakeNotices()) {
      board.Warn({.text = fmt::format("cache {}: {}", to.spec.Name(), notice)});
    }
    if (!to.failure) continue;
    if (!to.spec.ignore_error) {
      return Error(*to.failure).With("exporting cache to " + to.spec.Name());
    }
    if (to.told) continue;
    board.Warn({.text = fmt::format("cache {} was not written: {}", to.spec.Name(), to.failure->message),
                .detail = {to.failure->hint}});
  }
  return Ok();
}

Status CacheTiers::AgreeOnClientList(std::stop_token stop) {
  auto lists = client_lists_.Lock();
  if (lists->empty()) return Ok();
  const ClientList& one = lists->back();
  for (const ClientList& other : *lists) {
    if (other.top == one.top) continue;
    TRY(tier::CopyClientLayout(one.top, *one.blobs, *other.blobs, stop));
  }
  client_list_ = one.top;
  return Ok();
}

void CacheTiers::NoteSaved(const engine::Outcome& outcome) {
  for (const engine::StepOutcome& step : outcome.steps) {
    if (step.status == engine::StepStatus::kCached && !step.tier.empty()) saved_[step.tier] += step.saved;
  }
}

std::vector<history::TierUse> CacheTiers::Uses() const {
  std::vector<history::TierUse> uses;
  for (const auto& [name, tier] : all_) {
    tier::Traffic traffic = tier->traffic();
    history::TierUse use{.name = name,
                         .hits = traffic.hits,
                         .layers = traffic.layers,
                         .bytes_read = traffic.bytes_read,
                         .bytes_written = traffic.bytes_written,
                         .requests = traffic.requests};
    if (auto saved = saved_.find(name); saved != saved_.end()) use.saved = saved->second;
    if (auto report = reports_.find(name); report != reports_.end()) {
      use.read = true;
      use.time += report->second.time;
      if (report->second.failure) use.read_error = report->second.failure->message;
    }
    for (const Exported& to : exports_) {
      if (to.tier != tier) continue;
      use.written = true;
      use.time += to.time;
      if (to.failure) use.write_error = to.failure->message;
    }
    uses.push_back(std::move(use));
  }
  return uses;
}

std::string CacheTiers::Summary() {
  std::string text;
  for (const auto& [name, tier] : all_) {
    tier::Traffic traffic = tier->traffic();
    Counter("tier.requests").Add(static_cast<int64_t>(traffic.requests));
    Counter("tier.bytes_read").Add(static_cast<int64_t>(traffic.bytes_read));
    Counter("tier.bytes_written").Add(static_cast<int64_t>(traffic.bytes_written));
    Counter("tier.bytes_ahead").Add(static_cast<int64_t>(traffic.bytes_ahead));
    Nanos time{0};
    auto found = saved_.find(name);
    const Nanos saved = found == saved_.end() ? Nanos(0) : found->second;
    Counter("tier.saved_us").Add(saved.count() / 1000);
    std::string outcome;
    if (auto report = reports_.find(name); report != reports_.end()) {
      time += report->second.time;
      outcome = report->second.failure ? "not used"
                                       : fmt::format("{} hit{}, {} read", traffic.hits, traffic.hits == 1 ? "" : "s",
                                                     FormatBytes(traffic.bytes_read));
      if (saved >= Nanos(50'000'000)) outcome += ", saved " + FormatDuration(saved);
      if (traffic.refused > 0) outcome += fmt::format(", {} refused: not signed", traffic.refused);
      Counter("tier.refused").Add(static_cast<int64_t>(traffic.refused));
    }
    for (const Exported& to : exports_) {
      if (to.tier != tier) continue;
      time += to.time;
      if (!outcome.empty()) outcome += " · ";
      outcome += to.failure ? "not written" : FormatBytes(traffic.bytes_written) + " written";
      if (traffic.bytes_ahead > 0) outcome += fmt::format(" ({} while steps ran)", FormatBytes(traffic.bytes_ahead));
      if (traffic.left_out > 0) {
        outcome += fmt::format(", {} layer{} left out: {}", traffic.left_out, traffic.left_out == 1 ? "" : "s",
                               LimitsOf(to.spec));
      }
    }
    text += fmt::format("cache {}: {} · {} request{} · {}\n", name, outcome, traffic.requests,
                        traffic.requests == 1 ? "" : "s", FormatDuration(time));
  }
  return text;
}

}  // namespace varve::job
