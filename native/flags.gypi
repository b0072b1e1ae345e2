# What every target of binding.gyp shares; the same choices as in CMakeLists.txt.
{
  'include_dirs': ['.'],
  'defines': ['NDEBUG'],
  'cflags': ['-fno-math-errno', '-fno-trapping-math', '-fvisibility=hidden'],
  'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
  'cflags_cc': ['-std=c++17', '-fvisibility-inlines-hidden', '-fexceptions'],
  'xcode_settings': {
    'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
    'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
    'GCC_ENABLE_CPP_RTTI': 'YES',
    'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
    'OTHER_CFLAGS': ['-fno-math-errno', '-fno-trapping-math'],
  },
  'msvs_settings': {
    'VCCLCompilerTool': {'ExceptionHandling': 1, 'AdditionalOptions': ['/std:c++17', '/bigobj']},
  },
  'conditions': [['OS == "win"', {'defines': ['NOMINMAX', '_USE_MATH_DEFINES']}]],
}
