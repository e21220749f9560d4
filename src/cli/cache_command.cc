// `varve cache`: looking into caches that travel, copying and shrinking them, and the keys that they are
// signed with.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>

#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"
#include "cache/root.h"
#include "cli/cache_listing.h"
#include "cli/cache_warm.h"
#include "cli/commands.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/open_storage.h"
#include "job/step_rules.h"
#include "job/stop_signals.h"
#include "job/upkeep_stores.h"
#include "sys/tempdir.h"
#include "tier/inspect.h"
#include "tier/shrink.h"
#include "tier/wire.h"

namespace varve::cli {

namespace {

// Never over a file that is there: a key that is lost makes every cache unsigned.
Status WriteNew(const std::string& path, const std::string& text, unsigned mode) {
  auto file = OpenFile(path, O_WRONLY | O_CREAT | O_EXCL, mode);
  if (!file && access(path.c_str(), F_OK) == 0) {
    return Invalid("{} is there already: name another file, or remove it", path);
  }
  if (!file) return std::move(file).error();
  return FdWriter(file->get()).Write(text);
}

enum class Action { kLs, kInspect, kDu, kVerify, kCopy, kPrune, kClear, kWarm, kGenerateKey };

class CacheCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.require_subcommand(1);
    auto add = [&](Action action, const char* name, const char* text) {
      CLI::App* sub = app.add_subcommand(name, text);
      // Noted now: the parser is gone when the command runs.
      sub->callback([this, action] { action_ = action; });
      sub->add_option("--tier", tier_text_, "The cache, as --cache-from and --cache-to name it")->required();
      return sub;
    };
    auto with_format = [&](CLI::App* sub) {
      sub->add_option("--format", format_, "table or json")->check(CLI::IsMember({"table", "json"}));
      return sub;
    };
    with_format(add(Action::kLs, "ls", "List the steps whose results are there"));
    CLI::App* inspect = add(Action::kInspect, "inspect", "Show everything about a step's results, as JSON");
    inspect->add_option("STEP", step_, "The beginning of a key, or a part of the step's name")->required();
    with_format(add(Action::kDu, "du", "Say what takes how much"));
    with_format(
        add(Action::kVerify, "verify", "Fetch every blob and check its digest; with verify-key signatures too"));
    CLI::App* copy = with_format(add(Action::kCopy, "copy", "Copy everything to another cache"));
    copy->add_option("--to", to_text_, "The other cache")->required();
    CLI::App* prune = with_format(add(Action::kPrune, "prune", "Make it smaller"));
    prune->add_option("--max-size", max_size_, "Remove what saves least time for its bytes, until 2GB are left");
    prune->add_option("--older-than", older_than_, "Remove what was made before: 12h, 30d, 8w");
    CLI::App* clear = with_format(add(Action::kClear, "clear", "Empty it"));
    for (CLI::App* sub : {prune, clear}) sub->add_flag("-f,--force", force_, "Do not ask");
    CLI::App* warm = app.add_subcommand("warm", "Bring there what builds would find cached, without building");
    warm->callback([this] { action_ = Action::kWarm; });
    warm_.Define(*warm);
    CLI::App* key = app.add_subcommand("key", "Keys for signed caches");
    key->require_subcommand(1);
    CLI::App* generate = key->add_subcommand(
        "generate", "Make a pair: FILE for sign-key of --cache-to, FILE.pub for verify-key of --cache-from");
    generate->callback([this] { action_ = Action::kGenerateKey; });
    generate->add_option("FILE", key_file_, "Where to")->default_str("varve-cache.key");
  }

  Status Check() override {
    if (action_ == Action::kGenerateKey) return Ok();
    if (action_ == Action::kWarm) return warm_.Check();
    TRY_ASSIGN(spec_, tier::ParseTier(tier_text_));
    if (action_ == Action::kCopy) {
      TRY_ASSIGN(to_, tier::ParseTier(to_text_));
      if (to_.Name() == spec_.Name() && to_.store == spec_.store) {
        return Invalid("{} cannot be copied to itself", spec_.Name());
      }
    }
    if (action_ == Action::kPrune) {
      if (max_size_.empty() && older_than_.empty()) {
        return Invalid("cache prune needs --max-size or --older-than; cache clear empties a cache");
      }
      if (!max_size_.empty()) {
        TRY_ASSIGN(limits_.max_size, ParseRamBytes(max_size_));
      }
      if (!older_than_.empty()) {
        TRY_ASSIGN(Nanos age, job::ParseAge(older_than_));
        limits_.older_than = Timestamp{SystemClock().Now().nanos - age.count()};
      }
    }
    return Ok();
  }

  int Run(const job::GlobalFlags& global) override {
    if (action_ == Action::kGenerateKey) {
      Status made = GenerateKey();
      return made ? job::kSuccess : job::FailWith(made.error());
    }
    if (action_ == Action::kWarm) return warm_.Run(global);
    job::StopSignals signals;
    stop_ = signals.token();
    // Only for the configuration of registries: the root itself is not touched.
    auto registries = job::Registries::Open(cache::RootDirectory(global.root));
    if (!registries) return job::FailWith(registries.error());
    registries_ = registries->get();
    // A build makes the folder when it is to write there; who looks into one that is not there has misspelt it.
    if (spec_.kind == tier::Kind::kLocal && !std::filesystem::is_directory(spec_.place)) {
      return job::FailWith(NotFound("{}: there is no such folder", spec_.Name()));
    }
    auto storage = job::OpenStorage(spec_, *registries_);
    if (!storage) return job::FailWith(storage.error());
    storage_ = storage->get();
    auto done = action_ == Action::kCopy ? Copy() : Look();
    if (!done) return job::FailWith(done.error());
    return *done ? job::kSuccess : job::kBuildFailed;
  }

 private:
  bool json() const { return format_ == "json"; }

  // False: something was found to be damaged.
  Result<bool> Look() {
    auto read = tier::ReadGroups(*storage_, stop_);
    if (!read && read.error().code == Code::kCorrupt) return LookAtDamage(std::move(read).error());
    TRY_ASSIGN(auto stored, std::move(read));
    for (const tier::DamagedGroup& group : stored.damaged) {
      job::ToStderr(fmt::format("WARNING: group {} is damaged, and not read: {}\n", group.manifest.Short(), group.why));
    }
    tier::Group group = stored.Merged();
    switch (action_) {
      case Action::kLs:
        job::ToStdout(json() ? ListingJson(group) : ListingTable(group, SystemClock().Now()));
        return true;
      case Action::kDu:
        job::ToStdout(json() ? UseJson(stored, group) : UseText(stored, group));
        return true;
      case Action::kInspect:
        TRY(Inspect(group));
        return true;
      case Action::kVerify:
        return Verify(stored, group);
      case Action::kPrune:
        TRY(Prune(stored, std::move(group)));
        return true;
      case Action::kClear:
        TRY(Clear(stored, group));
        return true;
      case Action::kCopy:
      case Action::kWarm:
      case Action::kGenerateKey:
        break;
    }
    return Internal("cache: no such action");
  }

  // The list itself cannot be read. A build with --cache-to would begin anew; so does clear.
  Result<bool> LookAtDamage(Error damage) {
    if (action_ != Action::kClear) {
      damage.hint =
          fmt::format("a build with --cache-to begins anew there, and so does varve cache clear --tier {}", tier_text_);
      return damage;
    }
    job::ToStderr(fmt::format("WARNING: {}: what is there can only be removed as a whole\n", damage.message));
    spec_.reset = true;  // also blobs that an export has just sent: no list will name them
    TRY_ASSIGN(auto anew, job::OpenStorage(spec_, *registries_));
    storage_ = anew.get();
    TRY(ReplaceAll({}, {}, 0, 0, /*begin_anew=*/true));
    return true;
  }

  Status Inspect(const tier::Group& group) {
    TRY_ASSIGN(std::string text, RecordsJson(group, step_));
    job::ToStdout(text);
    return Ok();
  }

  Result<bool> Verify(const tier::StoredGroups& stored, const tier::Group& group) {
    std::optional<tier::VerifyKeys> keys;
    if (!spec_.verify_key.empty()) {
      TRY_ASSIGN(std::string text, tier::ReadKeyText(spec_.verify_key));
      TRY_ASSIGN(keys, tier::VerifyKeys::Parse(text));
    }
    TRY_ASSIGN(auto damage, tier::CheckBlobs(*storage_, group, nullptr, stop_));
    CheckedCache checked{.blobs = tier::BlobsOf(group).size(),
                         .damage = std::move(damage),
                         .damaged_groups = stored.damaged,
                         .unsigned_steps = {}};
    for (const cache::StepRecord& record : group.records) {
      if (!keys || keys->Signed(group.signatures, tier::StatementOf(record))) continue;
      checked.unsigned_steps.emplace_back(record.name, keys->WhyNot(group.signatures, tier::StatementOf(record)));
    }
    job::ToStdout(json() ? CheckedJson(checked) : CheckedText(checked, spec_.Name()));
    return checked.sound();
  }

  Result<bool> Copy() {
    TRY_ASSIGN(auto to, job::OpenStorage(to_, *registries_));
    TRY_ASSIGN(auto scratch, sys::TempDir::Create(sys::TemporaryRoot(), "varve-copy-"));
    TRY_ASSIGN(auto copied, tier::CopyGroups(*storage_, *to, scratch.path(), nullptr, stop_));
    for (const tier::BlobDamage& damage : copied.left_out) {
      job::ToStderr(fmt::format("WARNING: {} was not copied: {}{}\n", damage.blob.digest.ToString(), damage.why,
                                NeededBy(damage)));
    }
    if (json()) {
      job::ToStdout(Json()
                        .Set("Records", copied.records)
                        .Set("BlobsSent", copied.blobs)
                        .Set("BytesSent", copied.bytes)
                        .Set("BlobsThere", copied.there)
                        .Set("BlobsLeftOut", copied.left_out.size())
                        .Dump() +
                    "\n");
    } else {
      job::ToStdout(fmt::format("copied {} steps to {}: {} blobs sent ({}), {} were there\n", copied.records,
                                to_.Name(), copied.blobs, FormatBytes(copied.bytes), copied.there));
    }
    return copied.left_out.empty();
  }

  Status Prune(const tier::StoredGroups& stored, tier::Group group) {
    size_t records = group.records.size();
    uint64_t bytes = tier::BytesOf({group});
    tier::PruneGroup(group, limits_, SystemClock().Now());
    return ReplaceAll(stored, group, records, bytes);
  }

  Status Clear(const tier::StoredGroups& stored, const tier::Group& group) {
    return ReplaceAll(stored, {}, group.records.size(), tier::BytesOf({group}));
  }

  // Others' exports of the meantime stay: only what was read is replaced.
  Status ReplaceAll(const tier::StoredGroups& stored, const tier::Group& left, size_t records, uint64_t bytes,
                    bool begin_anew = false) {
    size_t gone = records - left.records.size();
    uint64_t removed = bytes - tier::BytesOf({left});
    bool nothing = gone == 0 && removed == 0 && stored.damaged.empty() && !begin_anew;
    if (!nothing && !force_) {
      std::string question = fmt::format(
          "WARNING! This will remove {} steps and {} from {}. Are you sure you want "
          "to continue?",
          gone, FormatBytes(removed), spec_.Name());
      if (!job::Confirm(question)) return Ok();
    }
    tier::Freed freed;
    if (!nothing) {
      TRY(tier::Wire(*storage_).PutGroup(left, stored.Manifests(), stop_));
      TRY_ASSIGN(freed, storage_->Free(stored.Blobs(), stop_));
    }
    if (json()) {
      job::ToStdout(Json()
                        .Set("RecordsRemoved", gone)
                        .Set("BytesRemoved", removed)
                        .Set("BytesFreed", freed.bytes)
                        .Set("ManifestsDeleted", freed.how == tier::Freed::How::kCollected ? freed.count : 0)
                        .Set("Records", left.records.size())
                        .Set("Bytes", tier::BytesOf({left}))
                        .Dump() +
                    "\n");
      return Ok();
    }
    job::ToStdout(fmt::format("removed {} steps and {}; {} steps and {} are left\n", gone, FormatBytes(removed),
                              left.records.size(), FormatBytes(tier::BytesOf({left}))));
    if (!nothing) job::ToStdout(TextOf(freed));
    return Ok();
  }

  // What became of the space.
  std::string TextOf(const tier::Freed& freed) const {
    switch (freed.how) {
      case tier::Freed::How::kNow:
        return fmt::format("{} blobs and lists were deleted: {} are free\n", freed.count, FormatBytes(freed.bytes));
      case tier::Freed::How::kCollected:
        return fmt::format("{} manifests were deleted: the registry frees what they kept when it collects garbage\n",
                           freed.count);
      case tier::Freed::How::kNever:
        if (spec_.kind == tier::Kind::kGha) {
          return "GitHub drops the entries when nobody reads them for a week; `gh cache delete` does it now\n";
        }
        return "the registry does not allow deletion: what is named no longer goes by its own rules\n";
    }
    return "";
  }

  Status GenerateKey() {
    TRY_ASSIGN(auto key, tier::SigningKey::Generate());
    TRY_ASSIGN(std::string private_pem, key.PrivatePem());
    TRY_ASSIGN(std::string public_pem, key.PublicPem());
    TRY(WriteNew(key_file_, private_pem, 0600));
    TRY(WriteNew(key_file_ + ".pub", public_pem, 0644));
    job::ToStdout(
        fmt::format("key {}\n{}      keep it secret: --cache-to …,sign-key={}\n"
                    "{}.pub  for everybody: --cache-from …,verify-key={}.pub\n",
                    key.name(), key_file_, key_file_, key_file_, key_file_));
    return Ok();
  }

  Action action_ = Action::kLs;
  CacheWarm warm_;
  std::string tier_text_, to_text_, format_ = "table", step_, max_size_, older_than_;
  std::string key_file_ = "varve-cache.key";
  bool force_ = false;
  tier::Spec spec_, to_;
  tier::PruneLimits limits_;
  job::Registries* registries_ = nullptr;
  tier::BlobStorage* storage_ = nullptr;
  std::stop_token stop_;
};

}  // namespace

std::unique_ptr<Command> MakeCacheCommand() { return std::make_unique<CacheCommand>(); }

}  // namespace varve::cli
