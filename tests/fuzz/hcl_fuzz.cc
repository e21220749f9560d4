// HCL in both forms, and a definition made of it. No function that asks the machine is of interest: what
// matters is that no text crashes, hangs or exhausts the parsers and the evaluator.
#include <cstddef>
#include <cstdint>
#include <string>

#include "bake/selection.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  varve::bake::ReadOptions options{.working_directory = "/nowhere"};
  for (const char* name : {"f.hcl", "f.json"}) {
    auto definition = varve::bake::Read({{name, text}}, options);
    if (!definition) continue;
    for (const auto& target : definition->targets) {
      if (auto selection = varve::bake::Select(*definition, {target.name}, {}, {})) (void)selection->ToJson().Dump();
    }
  }
  return 0;
}
