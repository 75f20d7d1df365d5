/* Tiles for few output channels. */
#include "backend/cuda/conv_tiles.cuh"

const omcu_form *omcu_forms_narrow(int *n)
{
    static const omcu_form forms[] = {
        entry<128, 16, 32, 32, 16, 4>("128x16x32"), entry<256, 16, 32, 64, 16, 3>("256x16x32"),
        entry<128, 32, 32, 32, 32, 4>("128x32x32"), entry<256, 32, 32, 64, 32, 3>("256x32x32"),
        entry<64, 32, 64, 16, 32, 4>("64x32x64"),   entry<32, 32, 64, 16, 16, 6>("32x32x64"),
    };
    *n = static_cast<int>(sizeof forms / sizeof forms[0]);
    return forms;
}
