// Whole Dockerfiles against golden graphs: tests/golden/dockerfile/graph/*.json beside
// *.Dockerfile. A difference in "op" of a graph costs every user the cache of such steps.
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/fd.h"
#include "dockerfile/lower_test.h"

namespace varve::dockerfile {
namespace {

class LowerGolden : public LowerTest {
 protected:
  Json Describe(const std::string& text) {
    Lowered lowered = Do(text);
    Json json = graph::Dump(lowered.graph);
    if (lowered.root) json.Set("root", lowered.root->step);
    Json history = Json::EmptyArray();
    for (const HistoryEntry& entry : lowered.history) {
      Json item;
      item.Set("created_by", entry.history.created_by);
      item.SetIf(entry.history.empty_layer, "empty_layer", true);
      if (entry.step) item.Set("step", *entry.step);
      history.Append(item);
    }
    json.Set("history", history);
    if (const Json* config = lowered.config.document().Find("config")) json.Set("config", *config);
    Json list = Json::EmptyArray();
    for (const std::string& warning : Warnings()) list.Append(warning);
    return json.SetIf(!warnings.empty(), "warnings", list);
  }
};

TEST_F(LowerGolden, GraphsOfWholeFilesStayAsTheyAre) {
  namespace fs = std::filesystem;
  const bool accept = std::getenv("VARVE_ACCEPT") != nullptr;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(std::string(VARVE_GOLDEN_DIR) + "/dockerfile/graph")) {
    if (entry.path().extension() == ".Dockerfile") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  EXPECT_GE(files.size(), 10u);
  for (const fs::path& path : files) {
    SCOPED_TRACE(path.filename().string());
    auto text = ReadFile(path.string());
    ASSERT_TRUE(text.has_value());
    std::string actual = Describe(*text).Dump({.indent = 2}) + "\n";
    fs::path golden = path;
    golden.replace_extension(".json");
    if (accept) {
      ASSERT_TRUE(WriteFileAtomically(golden.string(), actual).has_value());
      continue;
    }
    auto expected = ReadFile(golden.string());
    ASSERT_TRUE(expected.has_value()) << "run with VARVE_ACCEPT=1 to write it";
    EXPECT_EQ(*expected, actual);
  }
}

TEST_F(LowerGolden, LoweringIsAFunctionOfItsInput) {
  const char* text = "FROM a AS x\nRUN 1\nFROM b AS y\nRUN 2\nFROM c\nCOPY --from=x / /\nCOPY --from=y / /\n";
  std::string first = Describe(text).Dump();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Describe(text).Dump(), first);
}

}  // namespace
}  // namespace varve::dockerfile
