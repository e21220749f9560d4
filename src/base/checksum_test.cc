#include "base/checksum.h"

#include <gtest/gtest.h>

namespace varve {
namespace {

// FIPS 180-4 examples: "abc".
constexpr const char* kSha256 = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr const char* kSha384 =
    "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
    "8086072ba1e7cc2358baeca134c825a7";
constexpr const char* kSha512 =
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

TEST(Checksum, OfAbcInEachAlgorithm) {
  for (const char* text : {kSha256, kSha384, kSha512}) {
    auto expected = Checksum::Parse(text);
    ASSERT_TRUE(expected) << text;
    EXPECT_EQ(expected->ToString(), text);
    StringReader right("abc"), wrong("abd");
    EXPECT_EQ(*expected->Of(right), *expected);
    EXPECT_NE(*expected->Of(wrong), *expected);
  }
  EXPECT_EQ(Checksum(Digest::Of("abc")).ToString(), kSha256);
}

TEST(Checksum, RefusesWhatIsNone) {
  for (const char* text : {"", "abc", "sha256:", "md5:900150983cd24fb0d6963f7d28e17f72",
                           "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                           "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
                           "sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}) {
    EXPECT_FALSE(Checksum::Parse(text)) << text;
  }
}

}  // namespace
}  // namespace varve
