#include <unordered_map>

#include "base/guarded.h"
#include "tree/tree.h"

namespace varve::tree {

struct MemoryTreeStore::Impl {
  Guarded<std::unordered_map<Digest, std::shared_ptr<const Directory>>> directories;
};

std::shared_ptr<MemoryTreeStore::Impl> MemoryTreeStore::MakeImpl() { return std::make_shared<Impl>(); }

Result<std::shared_ptr<const Directory>> MemoryTreeStore::Get(const Digest& digest) {
  auto directories = impl_->directories.Lock();
  auto it = directories->find(digest);
  return it == directories->end() ? nullptr : it->second;
}

Status MemoryTreeStore::Put(const std::vector<std::pair<Digest, std::string>>& objects) {
  for (const auto& [digest, object] : objects) {
    TRY_ASSIGN(Directory directory, Decode(object));
    auto shared = std::make_shared<const Directory>(std::move(directory));
    impl_->directories.Lock()->try_emplace(digest, std::move(shared));
  }
  return Ok();
}

size_t MemoryTreeStore::size() { return impl_->directories.Lock()->size(); }

}  // namespace varve::tree
