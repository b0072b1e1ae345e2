# The same CPU addon as CMakeLists.txt builds, for machines that have Python and make but no CMake. Kernel files are
# compiled once per instruction set, each set in a static library with flags of its own.
{
  'variables': {
    'native_tests%': 0,
    'list': "const [dir, end] = process.argv.slice(1); if (fs.existsSync(dir)) fs.readdirSync(dir).sort().filter(f => f.endsWith(end)).forEach(f => console.log(dir + '/' + f))",
  },
  'targets': [
    {
      'target_name': 'deeprnn-cpu-engine',
      'type': 'static_library',
      'includes': ['native/flags.gypi'],
      'sources': ['<!@(node -e "<(list)" native/core .cpp)', '<!@(node -e "<(list)" native/cpu .cpp)'],
      'conditions': [
        ['target_arch == "arm64"', {
          'sources': ['<!@(node -e "<(list)" native/cpu/kernels _neon.cpp)'],
        }, {
          'sources': ['<!@(node -e "<(list)" native/cpu/kernels _baseline.cpp)'],
        }],
        ['target_arch == "x64"', {'dependencies': ['deeprnn-cpu-avx2', 'deeprnn-cpu-avx512', 'deeprnn-cpu-avx512bf16']}],
      ],
    },
    {
      'target_name': 'deeprnn-cpu',
      'type': 'loadable_module',
      'includes': ['native/flags.gypi'],
      'defines': [
        'NAPI_VERSION=9', 'NAPI_CPP_EXCEPTIONS', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'sources': ['<!@(node -e "<(list)" native/napi .cpp)'],
      'dependencies': ['deeprnn-cpu-engine'],
    },
  ],
  'conditions': [
    ['target_arch == "x64"', {
      'targets': [
        {
          'target_name': 'deeprnn-cpu-avx2',
          'type': 'static_library',
          'includes': ['native/flags.gypi'],
          'sources': ['<!@(node -e "<(list)" native/cpu/kernels _avx2.cpp)'],
          'cflags': ['-mavx2', '-mfma'],
          'xcode_settings': {'OTHER_CFLAGS': ['-mavx2', '-mfma']},
          'msvs_settings': {'VCCLCompilerTool': {'AdditionalOptions': ['/arch:AVX2']}},
        },
        {
          'target_name': 'deeprnn-cpu-avx512',
          'type': 'static_library',
          'includes': ['native/flags.gypi'],
          'variables': {
            'flags': ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mfma', '-mprefer-vector-width=512'],
          },
          'sources': ['<!@(node -e "<(list)" native/cpu/kernels _avx512.cpp)'],
          'cflags': ['<@(flags)'],
          'xcode_settings': {'OTHER_CFLAGS': ['<@(flags)']},
          'msvs_settings': {'VCCLCompilerTool': {'AdditionalOptions': ['/arch:AVX512']}},
        },
        {
          'target_name': 'deeprnn-cpu-avx512bf16',
          'type': 'static_library',
          'includes': ['native/flags.gypi'],
          'variables': {
            'flags': [
              '-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mfma', '-mprefer-vector-width=512',
              '-mavx512bf16', '-mavx512vnni',
            ],
          },
          'sources': ['<!@(node -e "<(list)" native/cpu/kernels _avx512bf16.cpp)'],
          'cflags': ['<@(flags)'],
          'xcode_settings': {'OTHER_CFLAGS': ['<@(flags)']},
          'msvs_settings': {'VCCLCompilerTool': {'AdditionalOptions': ['/arch:AVX512']}},
        },
      ],
    }],
    ['native_tests == 1', {
      'targets': [
        {
          'target_name': 'deeprnn-native-tests',
          'type': 'executable',
          'includes': ['native/flags.gypi'],
          'sources': ['<!@(node -e "<(list)" test/native .cpp)'],
          'dependencies': ['deeprnn-cpu-engine'],
        },
      ],
    }],
  ],
}
