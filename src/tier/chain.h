// The local store, then the tiers in order, each asked for what those before it did not have.
//
//   tier::Chain chain(local, blobs, clock, std::move(members), stop);
//   engine::Services services{chain, …};
//
// Fail soft (invariant I7): a tier that does not answer within its time, denies access or holds nonsense
// is one line in Reports(), and is not asked again in this job. Nothing here returns an error because
// of a tier. A record that a tier gave is put into the local store once its layers are here, not
// before (invariant I4): see KeepFound. Trust is decided before anything is asked (invariant I8): a
// member that is not trusted for reading is not given to a chain.
//
// Safe from any thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/byte_progress.h"
#include "base/guarded.h"
#include "cache/local_store.h"
#include "cas/blob_store.h"
#include "tier/spec.h"
#include "tier/tier.h"

namespace varve::tier {

struct Member {
  std::string name;  // "local:cache", "registry:example.com/app:cache"
  std::shared_ptr<Tier> tier;
  Nanos timeout{20'000'000'000};  // for one look-up; downloads have more, by their size
  MountChoice mounts = {};        // contents of cache mounts that it is asked for
};

struct Report {
  std::string name;
  Traffic traffic;
  Nanos time{0};                     // that look-ups and downloads took, each counted
  std::optional<Error> failure;      // why it was skipped for the rest of the job
  std::vector<std::string> notices;  // what of it could not be used
};

// Calls `work` with a token that is stopped with `stop`, or after `limit`: kUnavailable then.
Status Within(Nanos limit, std::stop_token stop, const std::function<Status(std::stop_token)>& work);

class Chain final : public cache::RecordStore {
 public:
  Chain(cache::LocalStore& local, cas::BlobStore& blobs, Clock& clock, std::vector<Member> members,
        std::stop_token stop);

  Result<std::vector<std::optional<cache::StepRecord>>> GetMany(const std::vector<StepKey>& keys) override;
  Status Put(const cache::StepRecord& record) override;
  // In the local store; and no tier is believed about this key again.
  Status Drop(const StepKey& key) override;
  Result<std::vector<cache::StepRecord>> Earlier(const std::string& slot, const Digest& op_digest,
                                                 size_t limit) override;

  Result<std::vector<cache::StepRecord>> Traced(const Digest& weak_key, size_t limit) override;
  // In the local store; exports tell of it.
  Status Disown(const Digest& weak_key, const std::string& why) override { return local_.Disown(weak_key, why); }
  // What a tier says of it is kept: its records may have come here before.
  Result<std::optional<std::string>> WhyDisowned(const Digest& weak_key) override;

  // Tiers that have the key and are not trusted with it, then those that have failed.
  std::vector<cache::TierTrouble> TroubleWith(const StepKey& key) override;

  // Brings the layer's blob into the blob store, verified, from the first tier that has it. Nothing:
  // none has. An error is about this machine, or kCancelled.
  Result<std::optional<cache::LayerBlob>> FetchLayer(const DiffId& layer, const OnProgress& on_progress,
                                                     std::stop_token stop);

  // What FetchLayer would bring, without bringing it; `repository` where a tier is one of a registry.
  std::optional<cache::LayerBlob> DescribeLayer(const DiffId& layer, std::stop_token stop);

  // One more question to a member, within its time. False: it failed, now or before.
  bool Ask(size_t member, const std::function<Status(Tier&, std::stop_token)>& request);
  // A record that a member gave by other ways than GetMany.
  void NoteFound(size_t member, const cache::StepRecord& record);
  // Gives `take` the tar of a cache mount's content, verified, from the first tier that has it. False: none
  // has. An error is that of `take`, or about this machine.
  Result<bool> FetchMount(const std::string& key, const std::string& id, const std::function<Status(Reader& tar)>& take,
                          const OnProgress& on_progress, std::stop_token stop);

  std::string TierOf(const StepKey& key) override;
  std::optional<cache::StepRecord> Found(const StepKey& key);
  // Puts those found records into the local store whose layers all are here now. `here` may fill in
  // tree roots that were not known.
  Status KeepFound(const std::function<bool(std::vector<cache::Rootfs>&)>& here);

  // A member of that name could not be asked: it is skipped for the rest of the job.
  bool Failed(const std::string& name);
  std::vector<Report> Reports();

 private:
  struct State {
    Member member;
    Nanos time{0};
    std::optional<Error> failure;
  };
  struct FoundRecord {
    size_t member;
    cache::StepRecord record;
  };

  // Runs one request, unless the tier has failed; false: go on without it.
  bool AskWithin(size_t member, Nanos limit, std::stop_token stop,
                 const std::function<Status(Tier&, std::stop_token)>& request);
  Result<std::optional<cache::LayerBlob>> FetchFrom(size_t member, const DiffId& layer, const OnProgress& on_progress,
                                                    std::stop_token stop);
  // Asks the member for a descriptor and brings what it names into the blob store. Nothing: it has not.
  Result<std::optional<oci::Descriptor>> Bring(
      size_t member, const std::string& what,
      const std::function<Result<std::optional<oci::Descriptor>>(Tier&, std::stop_token)>& find,
      const OnProgress& on_progress, std::stop_token stop);
  Result<std::optional<cache::LayerBlob>> FindHere(const DiffId& layer);

  cache::LocalStore& local_;
  cas::BlobStore& blobs_;
  Clock& clock_;
  const std::stop_token stop_;
  const size_t count_;
  Guarded<std::vector<State>> members_;
  Guarded<std::map<StepKey, FoundRecord>> found_;
  Guarded<std::set<StepKey>> dropped_;
  Guarded<std::set<DiffId>> fetching_;  // one download of a layer at a time
  std::condition_variable fetched_;
};

}  // namespace varve::tier
