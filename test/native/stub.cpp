#include "check.h"
namespace deeprnn::test { void testProducts(){} void testThreadPool(){} void testStack(){} void testPlan(){} }
