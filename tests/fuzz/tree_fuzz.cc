// Tree objects and layer indexes from foreign hands: what decodes has exactly one spelling, and a
// layer index that decodes can be applied or is refused, without a crash.
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "tree/layer_index.h"
#include "tree/tree.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace tree = varve::tree;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  if (auto directory = tree::Decode(input)) CHECK(tree::Encode(*directory) == input);
  if (auto index = tree::DecodeLayerIndex(input)) {
    CHECK(tree::EncodeLayerIndex(*index) == input);
    tree::MemoryTreeStore store;
    auto root = tree::ApplyLayer(store, tree::EmptyTree(), *index);
    if (root) CHECK(tree::GetDirectory(store, *root).has_value());
  }
  return 0;
}
