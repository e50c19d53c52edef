"""All words of the app, in English and Chinese."""

from __future__ import annotations

import re

LANGUAGES = ("en", "zh")
# locales that Gradio knows -> the language; a browser's locale picks one of them
LOCALES = {"en": "en", "zh-CN": "zh", "zh-TW": "zh", "zh": "zh"}

TEXTS: dict[str, dict[str, str]] = {
    "title": {"en": "The emotion of a group", "zh": "群体情绪识别"},
    "intro": {
        "en": "Recognises which emotion a **group of people** in a photo or video is perceived to show. It does not "
        "know what anybody feels. Photos and videos are deleted within an hour.",
        "zh": "识别照片或视频中**一群人**给人的整体情绪印象。它并不知道任何人的真实感受。照片和视频会在一小时内删除。",
    },
    "photo_tab": {"en": "Photo", "zh": "照片"},
    "video_tab": {"en": "Video", "zh": "视频"},
    "folder_tab": {"en": "Folder", "zh": "批量"},
    "about_tab": {"en": "About", "zh": "关于"},
    "photo": {"en": "Photo (up to 25 MB)", "zh": "照片（最大 25 MB）"},
    "video_file": {  # Gradio has texts of its own by the name of video
        "en": "Video (up to 500 MB; the first 30 minutes are used)",
        "zh": "视频（最大 500 MB，只使用前 30 分钟）",
    },
    "files": {
        "en": "Photos or zip archives (up to 200 photos)",
        "zh": "照片或 zip 压缩包（最多 200 张）",
    },
    "min_face_score": {"en": "Least detection score of a face", "zh": "人脸检测的最低得分"},
    "min_face_score_info": {
        "en": "Faces with a lower score are drawn thin and grey, and do not count.",
        "zh": "得分更低的人脸以灰色细框显示，不计入结果。",
    },
    "blur_faces": {"en": "Blur faces in the pictures", "zh": "在图片中模糊人脸"},
    "model": {"en": "Model", "zh": "模型"},
    "fps": {"en": "Frames per second", "zh": "每秒帧数"},
    "fps_info": {
        "en": "How many frames of each second are looked at. More take longer.",
        "zh": "每秒查看多少帧。帧数越多，用时越长。",
    },
    "render": {
        "en": "Make a video with faces and curve, to play and download",
        "zh": "生成带有人脸和曲线的视频，可播放和下载",
    },
    "recognise": {"en": "Recognise", "zh": "识别"},
    "answer": {"en": "Answer", "zh": "结果"},
    "picture": {"en": "Photo with faces", "zh": "标注人脸的照片"},
    "table": {"en": "Answers", "zh": "结果"},
    "downloads": {"en": "Downloads: CSV tables and pictures", "zh": "下载：CSV 表格和图片"},
    "rendered": {"en": "Video with faces and curve", "zh": "带有人脸和曲线的视频"},
    "timeline": {"en": "The group over time", "zh": "随时间变化的群体情绪"},
    "timeline_files": {
        "en": "Downloads: CSV tables, JSON, page and video",
        "zh": "下载：CSV 表格、JSON、网页和视频",
    },
    "waiting": {"en": "The answer appears here.", "zh": "结果将显示在这里。"},
    "progress": {"en": "Recognising photos", "zh": "正在识别照片"},
    "video_progress": {"en": "Recognising: {time} of the video", "zh": "正在识别：视频 {time}"},
    "no_photo": {"en": "Choose a photo first.", "zh": "请先选择一张照片。"},
    "no_video": {"en": "Choose a video first.", "zh": "请先选择一段视频。"},
    "not_usable": {"en": "This photo cannot be used: {reason}.", "zh": "无法使用这张照片：{reason}。"},
    "video_not_usable": {"en": "This video cannot be used: {reason}.", "zh": "无法使用这段视频：{reason}。"},
    "unknown": {"en": "Nothing is known", "zh": "无法判断"},
    "no_face": {"en": "No face was found.", "zh": "没有检测到人脸。"},
    "one_face": {"en": "1 face counts.", "zh": "计入 1 张人脸。"},
    "faces": {"en": "{count} faces count.", "zh": "计入 {count} 张人脸。"},
    "others": {
        "en": "{count} detected with a lower score: not counted.",
        "zh": "另有 {count} 处检测得分过低，未计入。",
    },
    "means": {
        "en": "The most probable emotion of the group is {label}, with a probability of {share} %.",
        "zh": "这群人最可能的情绪是“{label}”，概率为 {share} %。",
    },
    "means_video": {
        "en": "The most probable emotion of the group over the whole video is {label}, with a mean probability of "
        "{share} %.",
        "zh": "整段视频中，这群人最可能的情绪是“{label}”，平均概率为 {share} %。",
    },
    "no_face_in_video": {"en": "No face was found in any frame.", "zh": "所有画面中都没有检测到人脸。"},
    "video_counts": {
        "en": "Seconds looked at: {seconds}. People seen, counted anew after each scene cut: {people}.",
        "zh": "查看的时长：{seconds} 秒。出现的人数（镜头切换后重新计数）：{people}。",
    },
    "incomplete": {"en": "A part of the video was not used: {reason}.", "zh": "视频未能全部使用：{reason}。"},
    "segments": {"en": "Segments", "zh": "片段"},
    "more_segments": {
        "en": "and {count} more segments, in segments.csv",
        "zh": "另有 {count} 个片段，见 segments.csv",
    },
    "time": {"en": "Time", "zh": "时间"},
    "probabilities": {"en": "Probabilities", "zh": "概率"},
    "faces_of_photo": {"en": "Faces", "zh": "人脸"},
    "face": {"en": "Face", "zh": "人脸"},
    "face_number": {"en": "Face {number}", "zh": "人脸 {number}"},
    "expression": {"en": "Expression", "zh": "表情"},
    "weight": {"en": "Weight", "zh": "权重"},
    "score": {"en": "Detection", "zh": "检测得分"},
    "name": {"en": "Photo", "zh": "照片"},
    "emotion": {"en": "Emotion", "zh": "情绪"},
    "probability": {"en": "Probability", "zh": "概率"},
    "face_count": {"en": "Faces", "zh": "人脸数"},
    "note": {"en": "Note", "zh": "备注"},
    "more_faces": {"en": "and {count} more faces", "zh": "另有 {count} 张人脸"},
    "left_out": {"en": "Left out, no photos: {kinds}.", "zh": "已跳过非照片文件：{kinds}。"},
    "done": {
        "en": "Photos answered: {count}. Photos that cannot be used: {failed}.",
        "zh": "已识别 {count} 张照片，{failed} 张无法使用。",
    },
    "about": {
        "en": """\
## What this is

A model looks at the faces or the whole scene of a photo and predicts how people would label the emotion of the group.
An expression is not a feeling. Photos that differ from the training data in culture, age, dress or camera are answered
less reliably.

**Law.** It is not meant for judging individuals, nor for decisions about them. In the European Union, emotion
recognition in workplaces and schools has been prohibited since February 2025 (Regulation 2024/1689, Article 5). Upload
photos and videos only if you may.

**Privacy.** Photos and videos are processed on the server that shows this page, never sent elsewhere, and deleted
within an hour. Only their numbers are logged.

**Limits.** 25 MB per photo, 200 photos at a time, zip archives up to 2 GB without links or other archives. 500 MB per
video, of which the first 30 minutes are used, with frames of up to 4096 x 2160 pixels.
""",
        "zh": """\
## 这是什么

模型根据照片中的人脸或整个场景，预测人们会如何标注这群人的情绪。表情并不等于感受。如果照片在文化、年龄、衣着或相机方面与训练数据
不同，结果会不太可靠。

**法律。** 本工具不用于评判个人，也不用于针对个人的决定。在欧盟，自 2025 年 2 月起禁止在工作场所和学校进行情绪识别
（第 2024/1689 号条例第 5 条）。请只上传您有权使用的照片和视频。

**隐私。** 照片和视频只在提供本页面的服务器上处理，不会发送到其他地方，并在一小时内删除。日志只记录数量。

**限制。** 每张照片不超过 25 MB，每次最多 200 张；zip 压缩包不超过 2 GB，且不能包含链接或其他压缩包。
每段视频不超过 500 MB，只使用前 30 分钟，画面不超过 4096 x 2160 像素。
""",
    },
    "card": {"en": "Model card", "zh": "模型说明"},
    # what the models answer; other names are shown as they are
    "Negative": {"en": "Negative", "zh": "消极"},
    "Neutral": {"en": "Neutral", "zh": "中性"},
    "Positive": {"en": "Positive", "zh": "积极"},
    "angry": {"en": "angry", "zh": "愤怒"},
    "disgust": {"en": "disgust", "zh": "厌恶"},
    "fear": {"en": "fear", "zh": "恐惧"},
    "happy": {"en": "happy", "zh": "高兴"},
    "neutral": {"en": "neutral", "zh": "平静"},
    "sad": {"en": "sad", "zh": "悲伤"},
    "surprise": {"en": "surprise", "zh": "惊讶"},
}


def translations() -> dict[str, dict[str, str]]:
    """Locale -> key -> text, as Gradio takes them."""
    return {locale: {key: texts[language] for key, texts in TEXTS.items()} for locale, language in LOCALES.items()}


def chosen_language(accepted: str | None) -> str:
    """The language that a browser asks for in `Accept-Language`; English if it asks for neither of the two.

    >>> chosen_language("fr, zh-CN;q=0.9, en;q=0.8"), chosen_language("de"), chosen_language(None)
    ('zh', 'en', 'en')
    """
    wishes = []
    for wish in (accepted or "")[:500].split(","):
        match = re.fullmatch(r"\s*([A-Za-z]+)[\w-]*\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*", wish)
        if match and match[1].lower() in LANGUAGES:
            wishes.append((float(match[2] or 1), match[1].lower()))
    return max(wishes, key=lambda wish: wish[0])[1] if wishes else "en"


def text(key: str, language: str, **values: object) -> str:
    """A text in a language, with its places filled; a key that is not in the table is itself the text.

    >>> text("faces", "en", count=3), text("happy", "zh"), text("Joy", "zh")
    ('3 faces count.', '高兴', 'Joy')
    """
    found = TEXTS[key][language] if key in TEXTS else key
    return found.format(**values) if values else found
