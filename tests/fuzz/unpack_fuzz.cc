// Layers of foreign images as files: whatever the tar says, nothing outside of the layer's directory is made, changed
// or removed, what was unpacked is what the index says, and a layer that claims to be reproducible is.
#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "archive/tar.h"
#include "base/fd.h"
#include "base/result.h"
#include "snapshot/local_layer_store.h"

namespace {

namespace fs = std::filesystem;
using namespace varve;  // NOLINT

// Holes cost a few bytes of a header and any time to read: not what is looked for here.
bool IsSmall(std::string_view input) {
  StringReader in(input);
  archive::TarReader tar(in, {.entries = 200, .bytes = 1 << 20});
  NullWriter nowhere;
  while (true) {
    auto entry = tar.Next();
    if (!entry) return entry.error().code != Code::kInvalid;
    if (!*entry) return true;
    auto copied = Copy(tar.content(), nowhere);
    if (!copied) return copied.error().code != Code::kInvalid;
  }
}

// A store, and beside it a file that no layer may reach.
class Place {
 public:
  Place() {
    CHECK(mkdtemp(path_.data()) != nullptr);
    CHECK(WriteFileAtomically(path_ + "/outside", "untouched").has_value());
    auto store = snapshot::LocalLayerStore::Open(path_ + "/root", "boot");
    CHECK(store.has_value());
    store_ = std::move(*store);
  }
  ~Place() { fs::remove_all(path_); }

  void Unpack(std::string_view input) {
    const DiffId layer(Digest::Of(input));
    StringReader in(input);
    auto unpacked = store_->Unpack(layer, {}, in, {});
    if (unpacked) {
      CHECK(store_->Verify(layer, false).value());
      StringWriter tar;
      if (store_->Reproducible(layer).value()) CHECK(store_->WriteTar(layer, tar, {}) && tar.text == input);
      CHECK(store_->Remove(layer).has_value());
    }
    size_t names = 0;
    for (const auto& entry : fs::directory_iterator(path_)) names += entry.path().empty() ? 0 : 1;
    CHECK(names == 2 && ReadFile(path_ + "/outside").value() == "untouched");
    CHECK(fs::is_empty(path_ + "/root/layers"));
  }

 private:
  std::string path_ = "/dev/shm/varve-unpack-fuzz-XXXXXX";
  std::unique_ptr<snapshot::LocalLayerStore> store_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Place place;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  if (IsSmall(input)) place.Unpack(input);
  return 0;
}
