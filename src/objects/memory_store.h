// Objects in memory, for tests: the behaviour that the contract of object_store.h asks for.
#pragma once

#include <map>

#include "base/guarded.h"
#include "objects/object_store.h"

namespace varve::objects {

class MemoryStore final : public ObjectStore {
 public:
  std::string Name() const override { return "memory"; }
  Result<std::optional<ObjectInfo>> Get(const std::string& key, std::optional<ByteRange> range, Writer& out,
                                        std::stop_token stop) override;
  Result<std::optional<ObjectInfo>> Head(const std::string& key, std::stop_token stop) override;
  Status Put(const std::string& key, const Body& body, std::stop_token stop) override;
  Result<bool> PutIf(const std::string& key, std::string_view bytes, const Condition& condition,
                     std::stop_token stop) override;
  Result<bool> HasConditions(std::stop_token) override { return true; }
  Result<std::vector<ListedObject>> List(const std::string& prefix, std::stop_token stop) override;
  Result<bool> Refresh(const std::string& key, std::stop_token stop) override;
  Status Delete(const std::vector<std::string>& keys, std::stop_token stop) override;

 private:
  struct Object {
    std::string bytes;
    ObjectInfo info;
  };
  struct State {
    std::map<std::string, Object> objects;
    uint64_t versions = 0;
  };
  static ObjectInfo InfoOf(const Object& object);
  static void Store(State& state, const std::string& key, std::string bytes);

  Guarded<State> state_;
};

}  // namespace varve::objects
