// `varve image`: the names that `varve build -t` has left in the root, and what they lead to.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/strings.h"
#include "cli/commands.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/upkeep_stores.h"
#include "oci/reference.h"
#include "oci/stored_image.h"

namespace varve::cli {

namespace {

// As many digits of a digest as docker shows, and takes for the whole.
constexpr size_t kShownDigits = 12;

struct Named {
  cache::StoredImage stored;
  std::optional<oci::StoredImage> image;  // nothing: some of it is lost
};

std::string FamiliarName(const std::string& name) {
  auto reference = oci::ParseReference(name);
  return reference ? reference->Familiar() : name;
}

std::string PlatformsOf(const oci::StoredImage& image) {
  std::vector<std::string> names;
  for (const auto& variant : image.variants) names.push_back(variant.platform.ToString());
  return Join(names, ",");
}

Json ToJson(const Named& named) {
  Json json;
  json.Set("Name", FamiliarName(named.stored.name)).Set("Digest", named.stored.manifest.ToString());
  json.Set("UpdatedAt", FormatTime(named.stored.updated));
  if (!named.image) return json;
  json.Set("MediaType", named.image->media_type).Set("Size", named.image->Size());
  json.Set("Attestations", named.image->attestations);
  Json variants = Json::EmptyArray();
  for (const auto& variant : named.image->variants) {
    Json layers = Json::EmptyArray();
    for (const oci::Descriptor& layer : variant.manifest.layers) layers.Append(oci::ToJson(layer));
    variants.Append(Json()
                        .Set("Platform", variant.platform.ToString())
                        .Set("Digest", variant.manifest_digest.ToString())
                        .Set("Config", variant.config.document())
                        .Set("Layers", std::move(layers)));
  }
  return json.Set("Images", std::move(variants));
}

class ImageCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.require_subcommand(0, 1);  // `varve images` lists
    CLI::App* ls = app.add_subcommand("ls", "List them");
    ls->add_option("NAME", names_, "Only these: a repository, or a name with its tag");
    ls->add_option("--format", format_, "table or json")->check(CLI::IsMember({"table", "json"}));
    CLI::App* inspect = app.add_subcommand("inspect", "Show platforms, configuration and layers, as JSON");
    inspect->add_option("IMAGE", names_, "A name, or the beginning of a digest")->required();
    CLI::App* rm = app.add_subcommand("rm", "Remove names: their layers stay for as long as the cache keeps them");
    rm->add_option("IMAGE", names_, "Names, or beginnings of digests");
    rm->add_flag("-a,--all", all_, "All of them");
    // Noted now: the parser is gone when the command runs.
    for (auto [sub, action] :
         {std::pair{ls, &ImageCommand::List}, {inspect, &ImageCommand::Inspect}, {rm, &ImageCommand::Remove}}) {
      sub->callback([this, action] { action_ = action; });
    }
  }

  Status Check() override {
    if (action_ == &ImageCommand::Remove && names_.empty() != all_) {
      return Invalid("image rm needs the images' names, or --all");
    }
    return Ok();
  }

  int Run(const job::GlobalFlags& global) override {
    auto stores = job::UpkeepStores::Open(global);
    if (!stores) return job::FailWith(stores.error());
    stores_.emplace(std::move(*stores));
    Status done = (this->*action_)();
    return done ? job::kSuccess : job::FailWith(done.error());
  }

 private:
  Named Look(cache::StoredImage stored) {
    auto image = oci::ReadStoredImage(
        stored.manifest, [this](const Digest& blob) { return stores_->blobs->Get(blob, oci::kMaxManifestSize); });
    return {std::move(stored), image ? std::optional(std::move(*image)) : std::nullopt};
  }

  Status List() {
    TRY_ASSIGN(auto images, stores_->local.store->ListImages());
    const Timestamp now = SystemClock().Now();
    std::string out;
    for (cache::StoredImage& stored : images) {
      if (!names_.empty() && !std::ranges::any_of(names_, [&](const auto& name) { return IsMeant(name, stored); })) {
        continue;
      }
      const Named named = Look(std::move(stored));
      if (format_ == "json") {
        out += ToJson(named).Dump() + "\n";
        continue;
      }
      if (out.empty()) {
        out = fmt::format("{:<40} {:<13} {:<24} {:<10} {}\n", "NAME", "DIGEST", "PLATFORMS", "SIZE", "UPDATED");
      }
      const bool lost = !named.image;
      out += fmt::format("{:<40} {:<13} {:<24} {:<10} {}\n", FamiliarName(named.stored.name),
                         named.stored.manifest.Hex().substr(0, kShownDigits), lost ? "lost" : PlatformsOf(*named.image),
                         lost ? "-" : FormatBytes(named.image->Size()), FormatTimeAgo(named.stored.updated, now));
    }
    job::ToStdout(out);
    return Ok();
  }

  // "app" means all tags of it, "app:1" one.
  static bool IsMeant(const std::string& word, const cache::StoredImage& stored) {
    auto wanted = oci::ParseReference(word);
    auto name = oci::ParseReference(stored.name);
    if (!wanted || !name || wanted->Name() != name->Name()) return false;
    const bool whole = wanted->tag.empty() && !wanted->digest;
    return whole || wanted->WithDefaultTag().String() == stored.name;
  }

  // The image of that name, else those that the beginning of their digest is meant by.
  Result<std::vector<cache::StoredImage>> Find(const std::string& word) {
    if (auto reference = oci::ParseReference(word)) {
      TRY_ASSIGN(auto stored, stores_->local.store->GetImage(reference->WithDefaultTag().String()));
      if (stored) return std::vector{std::move(*stored)};
    }
    const std::string_view digits = word.starts_with("sha256:") ? std::string_view(word).substr(7) : word;
    TRY_ASSIGN(auto images, stores_->local.store->ListImages());
    std::vector<cache::StoredImage> found;
    for (const cache::StoredImage& image : images) {
      if (digits.size() >= kShownDigits && image.manifest.Hex().starts_with(digits)) found.push_back(image);
    }
    if (!found.empty()) return found;
    Error error = NotFound("there is no image \"{}\" in this root", word);
    std::vector<std::string> names;
    for (const cache::StoredImage& image : images) names.push_back(FamiliarName(image.name));
    const std::vector<std::string_view> candidates(names.begin(), names.end());
    auto near = NearestWord(word, candidates);
    error.hint = near ? fmt::format("did you mean {}?", *near) : "varve image ls lists them";
    return error;
  }

  Status Inspect() {
    Json all = Json::EmptyArray();
    for (const std::string& name : names_) {
      TRY_ASSIGN(auto found, Find(name));
      for (cache::StoredImage& stored : found) {
        const Named named = Look(std::move(stored));
        if (!named.image) {
          Error error = MakeError(Code::kCorrupt, "some of {} is lost", FamiliarName(named.stored.name));
          error.hint = "build it again, or remove the name: varve image rm " + FamiliarName(named.stored.name);
          return error;
        }
        all.Append(ToJson(named));
      }
    }
    job::ToStdout(all.Dump({.indent = 2}) + "\n");
    return Ok();
  }

  Status Remove() {
    std::vector<cache::StoredImage> gone;
    if (all_) {
      TRY_ASSIGN(gone, stores_->local.store->ListImages());
    }
    for (const std::string& name : names_) {
      TRY_ASSIGN(auto found, Find(name));
      gone.insert(gone.end(), found.begin(), found.end());
    }
    for (const cache::StoredImage& image : gone) {
      TRY(stores_->local.store->RemoveImage(image.name));
      job::ToStdout(fmt::format("removed {}\n", FamiliarName(image.name)));
    }
    return Ok();
  }

  std::vector<std::string> names_;
  std::string format_ = "table";
  bool all_ = false;
  Status (ImageCommand::*action_)() = &ImageCommand::List;
  std::optional<job::UpkeepStores> stores_;
};

}  // namespace

std::unique_ptr<Command> MakeImageCommand() { return std::make_unique<ImageCommand>(); }

}  // namespace varve::cli
