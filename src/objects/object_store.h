// A remote place that maps keys to bytes: a bucket, a directory of a web server.
//
// This is all that a cache tier needs of such a place. What the bytes mean, in which order they are
// written and how concurrent writers are merged is the tier's part; what is here knows requests,
// credentials, retries and conditions.
//
// Keys are "/"-separated paths without a leading slash, of any bytes; each store escapes them. All
// methods block, are safe from any thread, and end soon after `stop` is requested (kCancelled).
// Failed attempts that may succeed later (a cut connection, 408, 429, 5xx) were repeated with
// back-off before an error is returned.
//
// Errors:
//   kUnavailable  no answer, or still 429 or 5xx after the last attempt
//   kInvalid      refused: wrong credentials (401, 403), a missing bucket, a method that the store
//                 does not have; repeating does not help. The message has the store's own code
//   kCorrupt      an answer that is not what its protocol says
// An absent object is not an error.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/io.h"
#include "net/http_client.h"

namespace varve::objects {

struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = 0;  // at least 1
};

struct ObjectInfo {
  uint64_t size = 0;                       // of the whole object, also for a range of it
  std::string etag;                        // names this version, quotes included; empty where the store has none
  std::optional<Timestamp> modified = {};  // by the store's clock
  std::optional<Timestamp> now = {};       // the store's clock at the answer

  // How long ago the object was written, whatever this machine's clock says; empty where the store
  // does not tell.
  std::optional<Nanos> Age() const {
    if (!modified || !now) return {};
    return Nanos(now->nanos - modified->nanos);
  }
};

struct ListedObject {
  std::string key;
  ObjectInfo info;
};

// What a write requires of the object that is there.
struct Condition {
  std::string etag;  // this version; empty: no object at all
};

struct Body {
  net::OpenBody open;  // gives exactly `size` bytes, each time
  uint64_t size = 0;
};
Body BodyOf(std::string bytes);

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  // For messages: "s3://bucket/prefix", "https://cache.example.com/varve". Without secrets.
  virtual std::string Name() const = 0;

  // Writes the object, or a range of it that lies within it, to `out`. A connection that breaks off
  // is continued where it broke, if the object is still the same version: `out` gets each byte
  // once. Absent: nothing was written to `out`. After an error `out` may hold a part.
  virtual Result<std::optional<ObjectInfo>> Get(const std::string& key, std::optional<ByteRange> range, Writer& out,
                                                std::stop_token stop) = 0;

  virtual Result<std::optional<ObjectInfo>> Head(const std::string& key, std::stop_token stop) = 0;

  // Creates or replaces. The object is visible with all its bytes or not at all.
  virtual Status Put(const std::string& key, const Body& body, std::stop_token stop) = 0;

  // The same for small bodies, but only under the condition: false, and nothing is written, when it
  // does not hold. kInvalid when the store ignores conditions: ask HasConditions first. True may
  // come back as false when the answer to the first attempt was lost: re-read before giving up a
  // race.
  virtual Result<bool> PutIf(const std::string& key, std::string_view bytes, const Condition& condition,
                             std::stop_token stop) = 0;

  // Whether PutIf works. Many servers take the header and ignore it, so the first call tries it on
  // an object of its own, ".varve-condition-probe" (at most two requests); later ones cost nothing.
  virtual Result<bool> HasConditions(std::stop_token stop) = 0;

  // All objects whose keys start with `prefix`, ordered by key. kInvalid where the store cannot.
  virtual Result<std::vector<ListedObject>> List(const std::string& prefix, std::stop_token stop) = 0;

  // Makes `modified` the present, and leaves the bytes as they are, without moving them. False where
  // the store cannot, or the object is not there.
  virtual Result<bool> Refresh(const std::string& key, std::stop_token stop) = 0;

  // Absent ones are fine.
  virtual Status Delete(const std::vector<std::string>& keys, std::stop_token stop) = 0;
};

// The whole object as a string, kInvalid when it is longer than `limit`.
Result<std::optional<std::string>> GetString(ObjectStore& store, const std::string& key, uint64_t limit,
                                             std::stop_token stop);

inline constexpr std::string_view kConditionProbe = ".varve-condition-probe";

}  // namespace varve::objects
