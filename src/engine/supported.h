/* The sentence that ends every refusal of a model. */
#ifndef NX_ENGINE_SUPPORTED_H
#define NX_ENGINE_SUPPORTED_H

#define NX_SUPPORTED_MODELS                                                                        \
    "Nexus runs detectors with one input float32[1,3,height,width] and the output of YOLOv8/11 "   \
    "[1,4+C,N] (also with masks or keypoints), YOLOv10 [1,N,6] or YOLOX [1,N,5+C]"

#endif
